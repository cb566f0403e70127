"""How well a policy does in fresh episodes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import environments, programs
from .errors import EnvError, ImpalaError
from .policy import Policy


@dataclass(frozen=True)
class Evaluation:
    """Returns and lengths of whole episodes, in the order in which they began."""

    returns: np.ndarray
    """Sum of the rewards of each, float64."""
    lengths: np.ndarray
    """Steps of each, int64."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the returns, of the sample; 0 for one."""
        return float(self.returns.std(ddof=1)) if len(self.returns) > 1 else 0.0

    def __str__(self) -> str:
        return f"{len(self.returns)} episodes: return {self.mean:.2f} +- {self.std:.2f}, length {self.lengths.mean():.1f}"


def evaluate(
    policy: Policy,
    env: str | Callable[..., Any] | None = None,
    episodes: int = 100,
    *,
    deterministic: bool = False,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    task: str | None = None,
) -> Evaluation:
    """Plays `episodes` whole episodes.

    env: None for the environment that the policy was trained in, with its settings; else a name, class or function as `train` takes
        it, with `options`. Names without `gym:` or `envpool:` are Gymnasium's here.
    deterministic: take the most likely actions; else draw them, as in training.
    task: of a run of several tasks the one to play, by its name.

    Each of up to 16 environments plays its share of the episodes: taking whichever ends first would favour short ones.

    Raises `EnvError` if the environment cannot be made, fails, or is not one for this policy.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; it is at least 1")
    if env is None:
        return _played(policy, episodes, deterministic, seed, task)
    environments.check(env)
    from impala_env.errors import EnvFault, Unusable

    try:
        return _stepped(policy, env, episodes, deterministic, seed, options or {})
    except (EnvFault, Unusable) as error:
        line = error.line if isinstance(error, EnvFault) else str(error)
        raise EnvError(f"{environments.name_of(env)}: {line}", 7) from None
    except ImpalaError:
        raise
    except Exception as error:
        # Of the environment's own code.
        raise EnvError(f"{environments.name_of(env)}: {type(error).__name__}: {error}", 7) from error


def _played(policy: Policy, episodes: int, deterministic: bool, seed: int, task: str | None) -> Evaluation:
    """By `impala-play`."""
    command = [str(programs.find("impala-play")), os.fspath(policy.checkpoint), f"--episodes={episodes}", f"--seed={seed}", "--json"]
    command.append("--greedy" if deterministic else "--sampled")
    command += [f"--task={task}"] if task is not None else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        line = (done.stderr.strip().splitlines() or [f"impala-play ended with code {done.returncode}"])[-1]
        kind = EnvError if done.returncode == 7 else ImpalaError
        raise kind(line.removeprefix("impala-play: "), done.returncode)
    found = json.loads(done.stdout)
    if "tasks" in found:
        names = ", ".join(played["env"] for played in found["tasks"])
        raise ImpalaError(f"this run has several tasks, say which: task= one of {names}", 2)
    return Evaluation(np.array(found["returns"], np.float64), np.array(found["lengths"], np.int64))


class _Made:
    """What `impala_env` has makers for, of a class or function."""

    source, vector, keys, notes = "gym", False, None, ()

    def __init__(self, make: Callable[..., Any], options: dict[str, Any]) -> None:
        self.make, self.options, self.id = make, options, environments.name_of(make)

    def one(self) -> Any:
        return self.make(**self.options)


def _batch(env: str | Callable[..., Any], options: dict[str, Any], envs: int, seed: int) -> Any:
    from impala_env.batch import make
    from impala_env.making import maker_of

    if not isinstance(env, str):
        return make(_Made(env, options), envs, seed)
    source, name = "gym", env
    for prefix in environments.PREFIXES:
        if env.startswith(prefix):
            source, name = prefix[:-1], env.removeprefix(prefix)
    return make(maker_of(source, name, [(key, str(value)) for key, value in options.items()]), envs, seed)


def _stepped(
    policy: Policy, env: str | Callable[..., Any], episodes: int, deterministic: bool, seed: int, options: dict[str, Any]
) -> Evaluation:
    envs = min(16, episodes)
    batch = _batch(env, options, envs, seed)
    observation, action = batch.observation, batch.action
    _agrees(policy, env, batch)
    frames = np.zeros((envs, *observation.shape), observation.numpy)
    seen = observation.view(frames)
    masks = np.zeros((envs, action.logits), np.uint8) if batch.masks else None
    rewards = np.zeros(envs, np.float32)
    terminated, truncated = np.zeros(envs, np.uint8), np.zeros(envs, np.uint8)
    stack = np.zeros((envs, policy.frame_stack, *policy.frame_shape), policy.observation_dtype)
    left = np.array([episodes // envs + (index < episodes % envs) for index in range(envs)])
    sums, lengths = np.zeros(envs), np.zeros(envs, np.int64)
    finished: list[tuple[int, float, int]] = []
    batch.reset(seen, masks)
    over, starts = np.zeros(envs, bool), np.ones(envs, bool)
    state = None
    while left.any():
        stack[starts] = 0
        stack[:, :-1] = stack[:, 1:].copy()
        stack[:, -1] = frames
        shown = stack.reshape(envs, *policy.observation_shape)
        memory = (state, rewards, starts.view(np.uint8)) if policy.state_len else ()
        words, state = policy._chosen(shown, masks, deterministic, *memory)
        typed = words if action.numpy == np.int32 else words.view(np.float32)
        batch.step(action.view(typed), seen, rewards, terminated, truncated, masks)
        # An environment whose episode was over has been reset by this step.
        starts = over
        over = ((terminated | truncated) != 0) & ~starts
        sums, lengths = np.where(starts, 0.0, sums + rewards), np.where(starts, 0, lengths + 1)
        for index in np.flatnonzero(over & (left > 0)):
            left[index] -= 1
            # Round by round: the order in which they began.
            finished.append((int(left[index]) * envs + envs - int(index), float(sums[index]), int(lengths[index])))
    batch.close()
    finished.sort(key=lambda episode: -episode[0])
    return Evaluation(np.array([e[1] for e in finished]), np.array([e[2] for e in finished], np.int64))


def _agrees(policy: Policy, env: str | Callable[..., Any], batch: Any) -> None:
    """Raises `EnvError` for an environment that is not one for this policy."""
    name, observation, action = environments.name_of(env), batch.observation, batch.action
    shape, dtype = tuple(int(n) for n in observation.shape), np.dtype(observation.numpy)
    if shape != policy.frame_shape or dtype != policy.observation_dtype:
        raise EnvError(
            f"{name} shows {dtype} {list(shape)}, the policy of {policy.env_id} sees "
            f"{policy.observation_dtype} {list(policy.frame_shape)}", 2
        )
    if action.sizes != policy.action["sizes"] or len(action.low) != len(policy.action["low"]):
        raise EnvError(
            f"{name} has actions of {action.sizes} choices and {len(action.low)} numbers, the policy of {policy.env_id} "
            f"of {policy.action['sizes']} and {len(policy.action['low'])}", 2
        )
