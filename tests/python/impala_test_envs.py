"""Environments for tests: well-behaved ones of every space, and ones that fail when they are told to."""

import os
import signal
import time

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Counting(gym.Env):
    """Counts its steps: `[step, episode, seed drawn at reset, 0]`. Reward is the step; the episode ends at
    `length`, by time if `cut`. At step `at` over all episodes, `fault` happens."""

    observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length=5, cut=False, fault=None, at=1000):
        self.length, self.cut, self.fault, self.at = length, cut, fault, at
        self.total = self.episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_in_episode = 0
        self.episode += 1
        self.drawn = self.np_random.integers(1000)
        if self.fault == "first-reset-hangs" or self.fault == "reset-hangs" and self.total >= self.at:
            time.sleep(1e6)
        return self.seen(), {}

    def seen(self):
        return np.array([self.step_in_episode, self.episode, self.drawn, 0], np.float32)

    def step(self, action):
        self.total += 1
        self.step_in_episode += 1
        reward, observation = float(self.step_in_episode), self.seen()
        if self.total == self.at:
            if self.fault == "raise":
                raise ValueError("out of cheese")
            if self.fault == "step-hangs":
                time.sleep(1e6)
            if self.fault == "nan":
                observation[3] = np.nan
            if self.fault == "nan-reward":
                reward = np.nan
            if self.fault == "shape":
                observation = observation[:3]
            if self.fault == "dtype":
                observation = np.array(["a", "b", "c", "d"])
            if self.fault == "none":
                observation = None
            if self.fault == "crash-beside-child" and os.fork() == 0:
                time.sleep(1e6)
            if self.fault in ("crash", "crash-beside-child"):
                print("this is my last output", flush=True)
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.fault == "exit":
                raise SystemExit(3)
        over = self.step_in_episode >= self.length
        return observation, reward, over and not self.cut, over and self.cut, {}


class Spaces(gym.Env):
    """Shows `observation` in every step, ends each episode after 3, and gives a reward that tells the action."""

    def __init__(self, observation="box", action="discrete"):
        self.observation_space, self.value = OBSERVATIONS[observation]
        self.action_space = ACTIONS[action]
        self.mask = np.array([1, 0, 1], np.int8) if action == "masked" else None

    def info(self):
        return {} if self.mask is None else {"action_mask": self.mask}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return self.value, self.info()

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.left -= 1
        numbers = np.array(list(leaves(action)), np.float64)
        reward = float((numbers * 10.0 ** np.arange(len(numbers))).sum())
        return self.value, reward, self.left == 0, False, self.info()


def leaves(action):
    """All numbers of an action, in the order of its space."""
    for part in action.values() if isinstance(action, dict) else action if isinstance(action, tuple) else [action]:
        yield from leaves(part) if isinstance(part, (dict, tuple)) else np.asarray(part).reshape(-1)


IMAGE = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
OBSERVATIONS = {
    "box": (spaces.Box(-1, 1, (2,), np.float64), np.array([0.5, -0.5])),
    "ints": (spaces.Box(0, 9, (2, 2), np.int32), np.array([[1, 2], [3, 4]], np.int32)),
    "scalar": (spaces.Box(0, 9, (), np.float32), np.float32(7)),
    "image": (spaces.Box(0, 255, (2, 5, 3), np.uint8), IMAGE),
    "grey": (spaces.Box(0, 255, (2, 5, 1), np.uint8), IMAGE[:, :, :1]),
    "discrete": (spaces.Discrete(3, start=5), 6),
    "binary": (spaces.MultiBinary(3), np.array([1, 0, 1], np.int8)),
    "multi": (spaces.MultiDiscrete([2, 3]), np.array([1, 2])),
    "dict": (
        spaces.Dict(
            {
                "where": spaces.Box(-1, 1, (2,), np.float32),
                "inner": spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 255, (2,), np.uint8))),
            }
        ),
        {"where": np.array([0.25, 0.5], np.float32), "inner": (1, np.array([255, 0], np.uint8))},
    ),
    "one-key": (spaces.Dict({"image": spaces.Box(0, 255, (2, 5, 1), np.uint8)}), {"image": IMAGE[:, :, :1]}),
    "masked": (
        spaces.Dict({"action_mask": spaces.MultiBinary(3), "x": spaces.Box(0, 1, (1,), np.float32)}),
        {"action_mask": np.array([0, 1, 1], np.int8), "x": np.array([1], np.float32)},
    ),
    "text": (spaces.Text(5), "hello"),
    "sequence": (spaces.Dict({"list": spaces.Sequence(spaces.Discrete(2))}), {"list": (1,)}),
}
ACTIONS = {
    "discrete": spaces.Discrete(3),
    "start": spaces.Discrete(3, start=-1),
    "masked": spaces.Discrete(3),
    "binary": spaces.MultiBinary(3),
    "multi": spaces.MultiDiscrete([2, 3]),
    "short": spaces.MultiDiscrete([2, 3], dtype=np.int32, start=[-1, 4]),
    "box": spaces.Box(-2, 2, (2,), np.float32),
    "ints": spaces.Box(0, 3, (2,), np.int32),
    "shifted-ints": spaces.Box(-2, 1, (2,), np.int8),
    "wide-ints": spaces.Box(0, 1000, (2,), np.int32),
    "bytes": spaces.Box(0, 255, (2,), np.uint8),
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2))),
    "one": spaces.Tuple((spaces.Discrete(3, start=4),)),
    "dict": spaces.Dict(kind=spaces.Discrete(3), force=spaces.Box(-2, 2, (1,), np.float32)),
    "nested": spaces.Dict(
        move=spaces.Tuple((spaces.Discrete(2, start=1), spaces.Box(0, 3, (2,), np.int64))),
        aim=spaces.Dict(angle=spaces.Box(-1, 1, (), np.float64), zoom=spaces.Box(1, 200, (1,), np.int16)),
    ),
    "text": spaces.Tuple((spaces.Discrete(2), spaces.Text(3))),
    "sequence": spaces.Sequence(spaces.Discrete(2)),
}


def doubled(env):
    """A wrapper: twice the reward."""
    return gym.wrappers.TransformReward(env, lambda reward: 2 * reward)


not_callable = 7

gym.register("Counting-v0", entry_point=Counting)
gym.register("Spaces-v0", entry_point=Spaces)
gym.register("Missing-v0", entry_point="a_package_that_is_not_there:Env")


class Broken(Counting):
    """Cannot even start."""

    def reset(self, *, seed=None, options=None):
        raise ValueError("out of cheese")


gym.register("Broken-v0", entry_point=Broken)


class Locks(gym.Env):
    """Ten locks: a key and a number of turns opens each. It is shown which, and what is out of order."""

    observation_space = spaces.Dict(
        {"action_mask": spaces.MultiBinary(7), "sign": spaces.Box(0, 1, (7,), np.float32)}
    )
    action_space = spaces.MultiDiscrete([3, 4])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 10
        return self.seen(), {}

    def seen(self):
        self.opens = self.np_random.integers([3, 4])
        sign = np.zeros(7, np.float32)
        sign[[self.opens[0], 3 + self.opens[1]]] = 1
        self.mask = np.maximum(self.np_random.integers(0, 2, 7), sign).astype(np.int8)
        return {"action_mask": self.mask, "sign": sign}

    def step(self, action):
        if not (self.mask[action[0]] and self.mask[3 + action[1]]):
            raise ValueError(f"{action} is forbidden")
        reward = float((action == self.opens).mean())
        self.left -= 1
        return self.seen(), reward, self.left == 0, False, {}


class Drifting(gym.Env):
    """A bar that drifts to one side through a picture, round and round. A point for naming the side, which no
    single picture tells."""

    observation_space = spaces.Box(0, 255, (8, 12, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.side, self.place, self.left = self.np_random.integers(2), self.np_random.integers(12), 8
        return self.seen(), {}

    def seen(self):
        picture = np.zeros((8, 12, 1), np.uint8)
        picture[:, self.place] = 255
        return picture

    def step(self, action):
        # The first picture of an episode stands alone.
        reward = float(action == self.side and self.left < 8)
        self.place = (self.place + (1 if self.side else -1)) % 12
        self.left -= 1
        return self.seen(), reward, self.left == 0, False, {}


gym.register("Locks-v0", entry_point=Locks)
gym.register("Drifting-v0", entry_point=Drifting)


class Copycat(gym.Env):
    """Shows an action for 10 steps and gives up to a point for doing it: the product, over its parts, of how near each
    came. `mask` forbids some wrong choices, and raises if they are made."""

    def __init__(self, action="dict", mask=False):
        self.action_space = ACTIONS[action]
        self.parts = list(leaf_spaces(self.action_space))
        width = sum(int(np.prod(space.shape)) or 1 for space in self.parts)
        self.observation_space = spaces.Box(-1, 1, (width,), np.float32)
        self.mask = mask

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 10
        return self.seen(), self.info()

    def seen(self):
        self.wanted = self.np_random.uniform(-1, 1, self.observation_space.shape).astype(np.float32)
        self.goals, at = [], 0
        for space in self.parts:
            size = int(np.prod(space.shape)) or 1
            low, high = bounds(space)
            goal = low + (self.wanted[at : at + size] + 1) / 2 * (high - low)
            whole = space.dtype.kind in "iu"
            self.goals.append((np.rint(goal) if whole else goal, low, high))
            at += size
        return self.wanted

    def info(self):
        if not self.mask:
            return {}
        # Of the first choice one wrong value is forbidden.
        goal, low, high = self.goals[0]
        self.forbidden = low[0] + (goal[0] - low[0] + 1) % (high[0] - low[0] + 1)
        first = (np.arange(low[0], high[0] + 1) != self.forbidden).astype(np.int8)
        return {"action_mask": masked(self.action_space, [first])}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        numbers, at, near = np.array(list(leaves(action)), np.float64), 0, 1.0
        if self.mask:
            assert numbers[0] != self.forbidden, f"{action!r} is forbidden"
        for goal, low, high in self.goals:
            off = np.abs(numbers[at : at + len(goal)] - goal) / (high - low)
            # A choice is right or wrong; a number may be near.
            near *= float((off < 1e-9).mean() if (high - low).max() < 10 and goal[0] == round(goal[0]) else (1 - off).mean())
            at += len(goal)
        self.left -= 1
        return self.seen(), near, self.left == 0, False, self.info()


def leaf_spaces(space):
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        for child in space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces:
            yield from leaf_spaces(child)
    else:
        yield space


def bounds(space):
    if isinstance(space, spaces.Discrete):
        return np.array([space.start], float), np.array([space.start + space.n - 1], float)
    return space.low.reshape(-1).astype(float), space.high.reshape(-1).astype(float)


def masked(space, first):
    """A mask in the structure of `space`: `first.pop()` for its first choice, None for everything else."""
    if isinstance(space, spaces.Dict):
        return {key: masked(child, first) for key, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(masked(child, first) for child in space.spaces)
    return first.pop() if first and isinstance(space, spaces.Discrete) else None


gym.register("Copycat-v0", entry_point=Copycat)
