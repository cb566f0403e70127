"""Environments that are broken, one kind each, for `Broken-v0 --env-arg kind=KIND`."""

import sys
import time

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Base(gym.Env):
    """Works: four numbers, two actions, episodes of five steps."""

    def __init__(self):
        self.observation_space = spaces.Box(-1, 1, (4,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.left = 5

    def seen(self):
        return np.zeros(4, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return self.seen(), {}

    def step(self, action):
        self.left -= 1
        return self.seen(), 1.0, self.left == 0, False, {}


class OldStep(Base):
    def step(self, action):
        seen, reward, done, _, info = super().step(action)
        return seen, reward, done, info


class OldBoth(OldStep):
    """All of old gym."""

    def reset(self):
        self.left = 5
        return self.seen()


class NoStep(Base):
    def step(self, action):
        pass


class ResetAlone(Base):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class ResetTakesNothing(Base):
    def reset(self):
        return super().reset()


class BadInfo(Base):
    def step(self, action):
        return (*super().step(action)[:4], None)


def rewarded(value):
    class Rewarded(Base):
        def step(self, action):
            seen, _, *rest = super().step(action)
            return seen, value, *rest

    return Rewarded


def ended(value):
    class Ended(Base):
        def step(self, action):
            seen, reward, _, *rest = super().step(action)
            return seen, reward, value, *rest

    return Ended


def seen(value, at=0):
    """Sees `value` instead, from the step `at` of the second episode on."""

    class Seen(Base):
        episodes = 0

        def reset(self, *, seed=None, options=None):
            self.episodes += 1
            return super().reset(seed=seed)

        def seen(self):
            return value if self.episodes > at else super().seen()

    return Seen


class NoSpace(Base):
    def __init__(self):
        super().__init__()
        del self.action_space


class OddSpace(Base):
    def __init__(self):
        super().__init__()
        self.observation_space = [4]


class RaisesAtStart(Base):
    def __init__(self):
        raise RuntimeError("no licence\nat all")


class RaisesInStep(Base):
    def step(self, action):
        return deep(150)


def deep(depth):
    if depth == 0:
        raise ValueError("out of cheese")
    # Two functions, so that Python does not fold the lines.
    return deeper(depth - 1)


def deeper(depth):
    return deep(depth)


class RaisesInSecondReset(seen(np.zeros(4, np.float32))):
    def reset(self, *, seed=None, options=None):
        if self.episodes:
            raise KeyError("door")
        return super().reset(seed=seed)


class Leaves(Base):
    def step(self, action):
        sys.exit(3)


class NeedsSize(Base):
    def __init__(self, size):
        super().__init__()


class Masked(Base):
    mask = [1, 0, 1]

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"action_mask": self.mask}

    def step(self, action):
        return (*super().step(action)[:4], {"action_mask": self.mask})


class MaskOfNothing(Masked):
    mask = [0, 0]


class MaskOfNothingAtTheEnd(Base):
    """Works: who has lost has no move."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict(
            board=spaces.Box(-1, 1, (4,), np.float32), action_mask=spaces.MultiBinary(2)
        )

    def seen(self):
        return {"board": super().seen(), "action_mask": np.full(2, self.left > 0, np.int8)}


class Chatty(Base):
    """Works, and prints."""

    def step(self, action):
        print("step", action)
        return super().step(action)


class Slow(Base):
    """Works, and takes very long."""

    def step(self, action):
        time.sleep(1e6)


class SharedBuffer(Base):
    """Works, and shows everything in one buffer: `[environment, step, 0, 0]`."""

    count = 0
    buffer = np.zeros(4, np.float32)

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.number = SharedBuffer.count = SharedBuffer.count + 1

    def seen(self):
        self.buffer[:2] = self.number, 5 - self.left
        return self.buffer


class FailsInThePool(Base):
    """Works when it is tried, and nowhere else: the worker of a trial steps one environment."""

    made = 0

    def __init__(self):
        super().__init__()
        self.number = FailsInThePool.made = FailsInThePool.made + 1

    def step(self, action):
        if FailsInThePool.made > 1:
            return deep(150)
        return super().step(action)


class Pair(Base):
    """Something to see, and something to read. The reward counts what is seen."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (6, 6, 3), np.uint8),
            direction=spaces.Discrete(4),
            inner=spaces.Dict(speed=spaces.Box(-1, 1, (2,), np.float32), name=spaces.Text(9)),
            mission=spaces.Text(50),
        )

    def seen(self):
        return {
            "image": np.full((6, 6, 3), 255, np.uint8),
            "direction": 3,
            "inner": {"speed": np.array([0.5, -0.5], np.float32), "name": "me"},
            "mission": "go",
        }


KINDS = {
    "fine": Base,
    "old-step": OldStep,
    "old-both": OldBoth,
    "no-step": NoStep,
    "reset-alone": ResetAlone,
    "reset-takes-nothing": ResetTakesNothing,
    "bad-info": BadInfo,
    "reward-none": rewarded(None),
    "reward-nan": rewarded(float("nan")),
    "reward-two": rewarded(np.zeros(2)),
    "reward-text": rewarded("1.0"),
    "reward-array": rewarded(np.array([[0.5]])),
    "ended-none": ended(None),
    "ended-text": ended("no"),
    "ended-two": ended(np.array([True, False])),
    "seen-none": seen(None),
    "seen-shape": seen(np.zeros(3, np.float32)),
    "seen-text": seen("abcd"),
    "seen-nan": seen(np.full(4, np.nan, np.float32)),
    "seen-late": seen(np.zeros(5, np.float32), at=1),
    "seen-beyond": seen(np.full(4, 7, np.float32)),
    "no-space": NoSpace,
    "odd-space": OddSpace,
    "raises-at-start": RaisesAtStart,
    "raises-in-step": RaisesInStep,
    "raises-in-second-reset": RaisesInSecondReset,
    "leaves": Leaves,
    "needs-size": NeedsSize,
    "mask-length": Masked,
    "mask-of-nothing": MaskOfNothing,
    "mask-of-nothing-at-the-end": MaskOfNothingAtTheEnd,
    "chatty": Chatty,
    "slow": Slow,
    "shared-buffer": SharedBuffer,
    "fails-in-the-pool": FailsInThePool,
    "pair": Pair,
}


def made(kind, **options):
    return KINDS[kind](**options)


gym.register("Broken-v0", entry_point=made)
gym.register("Limited-v0", entry_point=made, max_episode_steps=50)
gym.register("Nowhere-v0", entry_point="impala_broken_envs:NoSuchClass")
gym.register("Renamed-v1", entry_point=made)
gym.register("Renamed-v2", entry_point=made)
