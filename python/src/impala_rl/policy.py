"""A trained policy that acts on arrays, with the code that acts in training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from . import _native
from .errors import PolicyError, RunError


class Policy:
    """Network, weights, normalisation of observations, and how actions are drawn: all that acting needs, in Rust.

    env_id: the environment it was trained in.
    observation_shape, observation_dtype: of one observation: float32, or uint8 for images, from 0 to 255. With a stack of k frames the
        shape begins with k, the newest frame last, zeros where the episode has fewer.
    action: {"kind": "discrete", "multi-discrete", "continuous" or "hybrid", "sizes": of the choices, "low", "high": of the numbers}.
    masks: whether the environment says which choices are allowed.
    state_len: numbers that the policy remembers of an episode, 0 if it judges each observation alone: `h` and `c` of the core, then the
        action before, if the network sees that, one-hot for choices, clipped to -1 and 1 for numbers.
    sees_reward: whether the network sees the reward that came with an observation.
    checkpoint, trained_frames: where the weights are from.
    """

    def __init__(self, path: str | os.PathLike[str], *, seed: int = 0) -> None:
        try:
            self._native = _native.Policy(os.fspath(path), seed)
        except _native.NativeError as error:
            raise RunError(*error.args) from None
        self.about: dict[str, Any] = json.loads(self._native.describe())
        observation, self.action = self.about["observation"], self.about["action"]
        self.env_id: str = self.about["env"]
        self.masks: bool = self.about["masks"]
        self.state_len: int = self.about["state_len"]
        self.sees_reward: bool = self.about["network"]["action_reward_inputs"]
        self.run_dir = Path(self.about["run_dir"])
        self.checkpoint = Path(self.about["checkpoint"])
        self.trained_frames: int = self.about["trained_frames"]
        self.frame_stack: int = observation["frame_stack"]
        stack = (self.frame_stack,) if self.frame_stack > 1 else ()
        self.frame_shape: tuple[int, ...] = tuple(observation["shape"])
        self.observation_shape: tuple[int, ...] = (*stack, *self.frame_shape)
        self.observation_dtype = np.dtype(observation["dtype"])
        self._kind: str = self.action["kind"]
        self._choices = len(self.action["sizes"])
        self._words = self._choices + len(self.action["low"])
        self._logits = sum(self.action["sizes"])
        self._outputs = self._logits + 2 * len(self.action["low"])

    def __repr__(self) -> str:
        return f"<impala_rl.Policy of {self.env_id}, {self.trained_frames} frames, {self.checkpoint}>"

    def act(
        self,
        observation: Any,
        state: Any = None,
        deterministic: bool = False,
        *,
        mask: Any = None,
        reward: Any = None,
        starts: Any = None,
    ) -> tuple[Any, Any]:
        """Chooses an action for one observation or for each of a batch, and gives it with the next state.

        observation: an array of `observation_shape`, or `[N, *observation_shape]` for a batch.
        state: what the policy remembers: the state that `act` gave at the step before, float32 `[state_len]`, or `[N, state_len]` for a
            batch; None where all episodes begin. A row of zeros is the beginning of an episode. Networks without a memory
            (`state_len` 0) take None and give None.
        deterministic: take the most likely action; else draw one, as in training.
        mask: which choices are allowed, `[sum of sizes]` or `[N, sum of sizes]`; None for all.
        reward: the reward that came with the observation, a number or `[N]`; of use to networks that see it (`sees_reward`), which count
            None as 0.
        starts: where an episode begins, a truth or `[N]`: there the state counts as zeros. None: nowhere, if there is a state.

        Actions are what the environment is given: for one choice an int, or int64 `[N]`; for several int64 `[choices]` or
        `[N, choices]`, each counted from 0; for numbers float32 `[numbers]` or `[N, numbers]`, within their bounds; for both a tuple of the two.

        Raises `PolicyError` for arrays of another shape or kind.
        """
        array, single = self._observations(observation)
        memory = self._memory(len(array), single, state, reward, starts) if self.state_len else self._none(state)
        words, after = self._chosen(array, self._mask(mask, len(array)), deterministic, *memory)
        if single and after is not None:
            after = after[0]
        kind = self._kind
        if kind == "discrete":
            return (int(words[0, 0]) if single else words[:, 0].astype(np.int64)), after
        if kind == "multi-discrete":
            found: Any = words.astype(np.int64)
        elif kind == "continuous":
            found = words.view(np.float32)
        else:
            choices, numbers = words[:, : self._choices], np.ascontiguousarray(words[:, self._choices :])
            pair = (choices.astype(np.int64), numbers.view(np.float32))
            return ((pair[0][0], pair[1][0]) if single else pair), after
        return (found[0] if single else found), after

    def logits(self, observation: Any, state: Any = None, *, reward: Any = None, starts: Any = None) -> np.ndarray:
        """What the policy's head gives, float32 `[outputs]` or `[N, outputs]`: logits of each choice in turn, then the means of the
        numbers, then their raw log-deviations (docs/algorithm.md). Bit by bit what an actor computes. Arguments as in `act`."""
        array, single = self._observations(observation)
        memory = self._memory(len(array), single, state, reward, starts) if self.state_len else self._none(state)
        out = np.empty((len(array), self._outputs), np.float32)
        self._call(self._native.logits, array, *memory, out)
        return out[0] if single else out

    def value(self, observation: Any, state: Any = None, *, reward: Any = None, starts: Any = None) -> Any:
        """The network's value: a float, or float32 `[N]`; in the units of learning, with rewards scaled and clipped. Arguments as in `act`."""
        array, single = self._observations(observation)
        memory = self._memory(len(array), single, state, reward, starts) if self.state_len else self._none(state)
        out = np.empty(len(array), np.float32)
        self._call(self._native.values, array, *memory, out)
        return float(out[0]) if single else out

    def weights(self) -> dict[str, np.ndarray]:
        """All parameters by their names in the checkpoint, statistics of observations included; copies."""
        found = self._native.weights()
        return {name: np.frombuffer(data, "<f4").reshape(shape).copy() for name, shape, data in found}

    def _observations(self, observation: Any) -> tuple[np.ndarray, bool]:
        """`[N, *observation_shape]`, and whether it is one alone."""
        try:
            array = observation if type(observation) is np.ndarray else np.asarray(observation)
        except ValueError as error:
            raise PolicyError(f"an observation that is not one array: {error}", 2) from None
        if array.dtype != self.observation_dtype:
            array = self._converted(array)
        shape = self.observation_shape
        single = array.shape == shape
        if single:
            array = array[None]
        elif array.shape[1:] != shape or not len(array):
            batch = ", ".join(["N", *map(str, shape)])
            raise PolicyError(
                f"observations of shape {list(array.shape)}; the policy of {self.env_id} sees {list(shape)}, or [{batch}]", 2
            )
        return np.ascontiguousarray(array), single

    def _converted(self, array: np.ndarray) -> np.ndarray:
        wanted = self.observation_dtype
        if array.dtype.kind not in "fiub" or wanted == np.uint8 and (
            array.dtype.kind == "f" or array.size and (array.min() < 0 or array.max() > 255)
        ):
            raise PolicyError(f"observations of {array.dtype}; the policy of {self.env_id} sees {wanted}", 2)
        return array.astype(wanted)

    def _mask(self, mask: Any, rows: int) -> np.ndarray | None:
        if mask is None:
            return None
        array = np.ascontiguousarray(np.asarray(mask) != 0, np.uint8)
        if array.size != rows * self._logits or array.shape[-1:] != (self._logits,):
            raise PolicyError(f"a mask of shape {list(array.shape)} for {rows} observations of {self._logits} choices", 2)
        return array

    def _none(self, state: Any) -> tuple[None, None, None]:
        if state is not None:
            raise PolicyError("this policy remembers nothing, its state is None", 2)
        return None, None, None

    def _memory(self, rows: int, single: bool, state: Any, reward: Any, starts: Any) -> tuple[Any, Any, Any]:
        """State, rewards and starts as Rust takes them."""
        shape = (self.state_len,) if single else (rows, self.state_len)
        each = () if single else (rows,)
        given = [("state", state, np.float32, shape), ("reward", reward, np.float32, each), ("starts", starts, np.bool_, each)]
        found = []
        for name, value, kind, wanted in given:
            if value is None:
                found.append(None)
                continue
            try:
                array = np.ascontiguousarray(value, kind)
            except (TypeError, ValueError):
                raise PolicyError(f"{name} is {value!r:.60}, which is not an array of numbers", 2) from None
            if np.shape(value) != wanted:
                have = f"a {name}" if name != "starts" else name
                raise PolicyError(f"{have} of shape {list(np.shape(value))}; the policy of {self.env_id} takes {list(wanted)} here", 2)
            found.append(array.view(np.uint8) if kind is np.bool_ else array)
        return found[0], found[1], found[2]

    def _chosen(
        self, array: np.ndarray, mask: np.ndarray | None, deterministic: bool, state: Any = None, rewards: Any = None, starts: Any = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Words `[N, W]`, i32: choices, and the bits of numbers within their bounds; and the next state."""
        words = np.empty((len(array), self._words), np.int32)
        after = np.empty((len(array), self.state_len), np.float32) if self.state_len else None
        self._call(self._native.act, array, mask, state, rewards, starts, deterministic, words, after)
        return words, after

    def _call(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except _native.NativeError as error:
            raise PolicyError(*error.args) from None
