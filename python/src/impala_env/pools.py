"""Environments of EnvPool: one object steps all environments of a worker, in C++.

EnvPool's autoreset is ours: the step that ends an episode shows its last observation, and the step after it ignores
the action, resets, and shows the first one of the next. So nothing is reset here but on command.
"""

import difflib
import re
import sys
import warnings

import numpy as np
from gymnasium import spaces

from .batch import OwnVector, seed_of
from .errors import Setting, Unusable, one_line, summary
from .making import import_or_say, literal, package_or_say

DEFAULTS = dict(num_threads=1)
"""Beneath what the user asks for: there is a worker for each actor already."""

ATARI = dict(stack_num=1, reward_clip=False)
"""The same for Atari games: single frames, for a stack is made where the network is; rewards as they are, for the
learner scales them. The rest is EnvPool's default and that of `gym:ALE/...`."""

RESERVED = {
    "num_envs": ["it follows from ", Setting("envs")],
    "batch_size": ["all environments of an actor step together"],
    "max_num_players": ["one player is learnt"],
    "seed": ["it follows from ", Setting("seed")],
    "env_seed": ["it follows from ", Setting("seed")],
    "base_path": ["set ENVPOOL_ASSETS_PATH"],
    "gym_reset_return_info": ["resets always give it"],
}
"""Options of EnvPool that are not the user's to set, and why."""


class PoolMaker:
    """Makes what `ID` or `module:ID` names of EnvPool's registry, with the options of the user; as `Maker`.

    An Atari game is `ALE/GAME-v5`, as in Gymnasium; EnvPool's own name `GAME-v5` stands for it.
    """

    source, vector = "envpool", True

    def __init__(self, name, options=(), wrapper=None, check=False, keys=None):
        self.envpool = package_or_say("envpool")
        if not hasattr(self.envpool, "make_gymnasium"):
            raise Unusable(
                f"envpool {getattr(self.envpool, '__version__', '')} of {sys.executable} is too old; install version 1.2 or later"
            )
        self.module, _, self.id = name.rpartition(":")
        self.options = {key: literal(value) for key, value in options}
        self.check, self.keys, self.notes = check, keys, []
        if wrapper:
            raise Unusable("EnvPool steps all environments at once in C++, which takes no wrapper", "gym:ID does")
        if self.module:
            import_or_say(self.module, f"module {self.module}")
        self.registry = self.envpool.registration.registry.specs
        self.task = self._found()
        atari = self.registry[self.task][0] == "envpool.atari"
        self.id = f"ALE/{self.task}" if atari else self.task
        for key in self.options:
            if key in RESERVED:
                raise Unusable(f"option {key} cannot be set", *RESERVED[key])
        self.options = DEFAULTS | (ATARI if atari else {}) | self.options

    def _found(self):
        """The name in EnvPool's registry."""
        name = self.id.removeprefix("ALE/")
        if name in self.registry and (name == self.id or self.registry[name][0] == "envpool.atari"):
            return name
        newest = self._newest(name)
        if newest and not re.search(r"-v\d+$", name):
            return newest
        version = getattr(self.envpool, "__version__", "")
        head = f"EnvPool {version} has no {self.id}"
        if newest:
            raise Unusable(head, "type ", Setting("env", self._typed(newest)))
        by_lower = {known.lower(): known for known in self.registry}
        near = [by_lower[each] for each in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
        if near:
            raise Unusable(head, f"near to it are {', '.join(near)}: type ", Setting("env", self._typed(near[0])))
        raise Unusable(
            f"{head}, and nothing like it",
            f"`{sys.executable} -c 'import envpool; print(envpool.list_all_envs())'` lists its names, and ",
            Setting("env", "gym:ID"),
            " takes those of Gymnasium",
        )

    def _newest(self, name):
        """The newest version of a name, in whatever case it is typed."""
        stem = re.compile(re.escape(re.sub(r"-v\d+$", "", name)) + r"-v(\d+)", re.IGNORECASE)
        versions = [(int(found[1]), known) for known in self.registry if (found := stem.fullmatch(known))]
        return max(versions)[1] if versions else None

    def _typed(self, name):
        return f"envpool:{self.module}:{name}" if self.module else f"envpool:{name}"

    def many(self, seeds):
        """An environment for each seed, all in one object."""
        try:
            pool = self.envpool.make_gymnasium(self.task, num_envs=len(seeds), seed=seeds, **self.options)
        except ImportError as wrong:
            raise Unusable(f"it cannot be loaded: {one_line(wrong)}") from None
        except RuntimeError as wrong:
            # A file of it that is not there, among others.
            raise Unusable(f"EnvPool cannot make it: {one_line(wrong)}") from None
        except (TypeError, AssertionError, ValueError) as wrong:
            raise Unusable(self._wrong_options(wrong)) from None
        if pool.config.get("max_num_players", 1) != 1:
            players = pool.config["max_num_players"]
            raise Unusable(f"{self.id} is for {players} players at once, and only environments of one player can be learnt")
        return pool

    def _wrong_options(self, error):
        """Which option was not taken, in words."""
        config = self.envpool.make_spec(self.task).config
        known = dict(zip(config._fields, config)) if hasattr(config, "_fields") else {}
        for key, value in self.options.items():
            if known and key not in known:
                mine = ", ".join(sorted(set(known) - set(RESERVED)))
                return f"option {key}: {self.id} has no such option; it has {mine}"
        for key, value in self.options.items():
            # A bool is a number for C++, and an int is a float.
            numbers = isinstance(value, (int, float)) and isinstance(known.get(key), (int, float))
            whole = isinstance(value, float) and isinstance(known.get(key), int)
            if type(value) is not type(known.get(key)) and (whole or not numbers):
                return f"option {key}: {value!r} is a {type(value).__name__}, it takes such as {known.get(key)!r}"
        return f"its options: {one_line(str(error).splitlines()[0] if str(error) else summary(error))}"


class Pool(OwnVector):
    """One EnvPool object. Each environment has a seed of its own, which it is made with."""

    def __init__(self, maker, envs, seed):
        seeds = [seed_of(seed, index) for index in range(envs)]
        super().__init__(maker.many(seeds), envs, seeds, maker.keys)
        self.direct = None if self.masks or not self.observation.plain else Direct.attempt(self.vector)

    def _spaces(self):
        with warnings.catch_warnings():
            # EnvPool gives bounds in f64 for f32.
            warnings.simplefilter("ignore")
            return [unbounded(_space(space)) for space in (self.vector.observation_space, self.vector.action_space)]

    def _reset(self, seed=None):
        # It has the seeds that it was made with, and warns of others.
        return super()._reset()

    def step(self, words, frames, rewards, terminated, truncated, masks):
        if self.started or self.direct is None:
            super().step(words, frames, rewards, terminated, truncated, masks)
            return
        self.steps += 1
        try:
            observations, rewards[:], done, cut_off = self.direct.step(self.action.read(words))
            # EnvPool calls an episode done in both cases.
            terminated[:], truncated[:] = done & ~cut_off, cut_off
        except Exception as error:
            raise self.fault("step", error) from None
        self._write("step", observations, None, frames, masks)


class Direct:
    """A step without EnvPool's Python, which takes 14 us to put its arrays into dicts that nobody looks at: for one
    array of observations and one of actions."""

    def __init__(self, pool, at, action):
        self.send, self.receive = pool._send, pool._recv
        self.at, self.dtype, self.shape = at, action.dtype, [n for n in action.shape if n != -1]
        self.ids = np.arange(pool.config["num_envs"], dtype=np.int32)

    @classmethod
    def attempt(cls, pool):
        """None where there is more than that, or where EnvPool's inner parts are others than those of 1.2."""
        try:
            states, actions = list(pool._state_keys), list(pool._action_keys)
            at = [states.index(name) for name in ("obs", "reward", "done", "trunc")]
            if actions[:2] != ["env_id", "players.env_id"] or len(actions) != 3:
                return None
            return cls(pool, at, pool.spec.action_array_spec[actions[2]])
        except (AttributeError, KeyError, ValueError):
            return None

    def step(self, actions):
        actions = np.ascontiguousarray(actions, self.dtype).reshape(len(self.ids), *self.shape)
        self.send([self.ids, self.ids, actions])
        found = self.receive()
        return [found[index] for index in self.at]


def _space(found):
    """What EnvPool gives as a plain dict, as a space."""
    if isinstance(found, dict):
        return spaces.Dict({key: _space(child) for key, child in found.items()})
    return found


def unbounded(space):
    """The space with infinity where EnvPool has the limits of a float of C++, of which the lower one is the
    smallest number above 0."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict([(key, unbounded(child)) for key, child in space.spaces.items()])
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        return space
    limits = [np.finfo(np.float32), np.finfo(np.float64)]
    wide = np.any([(space.low == limit.tiny) & (space.high == limit.max) for limit in limits], axis=0)
    low, high = np.where(wide, -np.inf, space.low), np.where(wide, np.inf, space.high)
    return spaces.Box(low.astype(space.dtype), high.astype(space.dtype), space.shape, space.dtype)
