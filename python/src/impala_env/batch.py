"""Environments that step together, with Gymnasium's next-step autoreset."""

import numpy as np

from .actions import Action
from .errors import EnvFault, Unusable, described, summary
from .spaces import MASK, Observation
from .values import declared, five, number, truth, two, wrong_call

_U64 = (1 << 64) - 1


def seed_of(seed, index):
    """Seed of environment `index`: SplitMix64 of the actor's, cut to 31 bits."""
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & _U64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _U64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _U64
    return (z ^ (z >> 31)) >> 33


def make(maker, envs, seed):
    """Makes and resets `envs` environments."""
    if maker.source == "envpool":
        from .pools import Pool

        return Pool(maker, envs, seed)
    if maker.vector:
        batch = OwnVector.attempt(maker, envs, seed)
        if batch is not None:
            return batch
    return ByHand(maker, envs, seed)


class Batch:
    """What both kinds have in common.

    Outputs are arrays: rewards `[E]` f32, whose episode terminated and whose was truncated `[E]` u8 each,
    masks `[E][logits]` u8 or None, and views of the frames and of the action words that `Observation` and
    `Action` made. The actor remembers whose episode is over: what a step that resets writes as its reward
    and its end does not count.
    """

    def __init__(self, observation_space, action_space, envs, keys=None):
        self.envs = envs
        self.observation = Observation(observation_space, keys)
        self.action = Action(action_space)
        self.steps = 0

    def describe(self):
        return {
            "observation": self.observation.describe(),
            "action": self.action.describe(),
            "masks": self.masks,
        }

    def find_masks(self, info):
        self.masks = self.observation.masks or MASK in info
        if self.masks and not self.action.sizes:
            raise Unusable("it gives an action_mask, but its actions are continuous")

    def fault(self, what, error, index=None):
        """A failure, in words: which environment, when, with which seed, and the traceback."""
        who = "the vector environment" if index is None else f"environment {index}"
        head = f"{who} failed in {what} at step {self.steps} (seed {self.seeds[index or 0]})"
        error = wrong_call(what, error) or error
        if isinstance(error, EnvFault):
            return EnvFault(f"{head}: {error}", remedy=error.remedy)
        return EnvFault(f"{head}\n{described(error)}", f"{head}: {summary(error)}")

    def checked_mask(self, mask, shape):
        if mask is None:
            raise EnvFault(f"{MASK} is missing")
        return self.action.mask(mask, shape)


class ByHand(Batch):
    """E environments, stepped one after the other."""

    def __init__(self, maker, envs, seed):
        self.seeds = [seed_of(seed, index) for index in range(envs)]
        self.members = [maker.one() for _ in range(envs)]
        self.over = np.zeros(envs, bool)
        spaces = [declared(self.members[0], name) for name in ("observation_space", "action_space")]
        super().__init__(*spaces, envs, maker.keys)
        # The first reset comes early: its info says whether there are masks. What it shows is copied at
        # once: environments may hand out one buffer again and again, and may even share it.
        frames = np.zeros((envs, *self.observation.shape), self.observation.numpy)
        seen, masks = self.observation.view(frames), None
        for index, seed in enumerate(self.seeds):
            observation, info = self._reset(index, seed)
            if index == 0:
                self.find_masks(info)
                masks = np.zeros((envs, self.action.logits), np.uint8) if self.masks else None
            self._write("reset", index, observation, info, seen, masks)
        self.started = (seen, masks)

    def _reset(self, index, seed=None):
        try:
            return two(self.members[index].reset(seed=seed))
        except Exception as error:
            raise self.fault("reset", error, index) from None

    def reset(self, frames, masks):
        if self.started:
            frames[...] = self.started[0]
            if self.masks:
                masks[...] = self.started[1]
        else:
            for index in range(self.envs):
                self._write("reset", index, *self._reset(index), frames, masks)
        self.started = None
        self.over[:] = False

    def _write(self, what, index, observation, info, frames, masks):
        try:
            self.observation.write_one(observation, frames[index, ...])
            if self.masks:
                mask = observation.get(MASK) if self.observation.masks else info.get(MASK)
                masks[index] = self.checked_mask(mask, ())
        except Exception as error:
            raise self.fault(what, error, index) from None

    def step(self, words, frames, rewards, terminated, truncated, masks):
        if self.started:
            self.reset(frames, masks)
            return
        self.steps += 1
        actions = self.action.read_each(words)
        over = self.over
        for index, env in enumerate(self.members):
            if over[index]:
                over[index] = False
                self._write("reset", index, *self._reset(index), frames, masks)
                continue
            try:
                observation, reward, ended, cut_off, info = five(env.step(actions[index]))
                rewards[index] = reward if type(reward) is float else number(reward)
                ended, cut_off = truth("terminated", ended), truth("truncated", cut_off)
                terminated[index], truncated[index] = ended, cut_off
                over[index] = ended or cut_off
            except Exception as error:
                raise self.fault("step", error, index) from None
            self._write("step", index, observation, info, frames, masks)

    def close(self):
        for env in self.members:
            env.close()


class OwnVector(Batch):
    """E environments of an implementation of their own."""

    def __init__(self, vector, envs, seeds, keys=None):
        self.vector, self.seeds = vector, seeds
        super().__init__(*self._spaces(), envs, keys)
        self.started = self._reset(self.seeds[0])
        self.find_masks(self.started[1])

    def _spaces(self):
        return [declared(self.vector, name) for name in ("single_observation_space", "single_action_space")]

    @classmethod
    def attempt(cls, maker, envs, seed):
        """None if the implementation has another autoreset than ours, and there is a way without it."""
        from gymnasium.vector import AutoresetMode

        vector = maker.many(envs)
        mode = vector.metadata.get("autoreset_mode")
        if mode in (AutoresetMode.NEXT_STEP, AutoresetMode.NEXT_STEP.value):
            return cls(vector, envs, [seed_of(seed, 0)], maker.keys)
        vector.close()
        if maker.gymnasium.envs.registration._find_spec(maker.id).entry_point is None:
            raise Unusable(f"the vector environment of {maker.id} has autoreset {mode}, it must be NEXT_STEP")
        return None

    def _reset(self, seed=None):
        try:
            return two(self.vector.reset(seed=seed))
        except Exception as error:
            raise self.fault("reset", error) from None

    def reset(self, frames, masks):
        observations, info = self.started or self._reset()
        self.started = None
        self._write("reset", observations, info, frames, masks)

    def _write(self, what, observations, info, frames, masks):
        try:
            self.observation.write(observations, frames)
            if self.masks:
                mask = observations.get(MASK) if self.observation.masks else info.get(MASK)
                masks[...] = self.checked_mask(mask, (self.envs,))
        except Exception as error:
            raise self.fault(what, error) from None

    def step(self, words, frames, rewards, terminated, truncated, masks):
        if self.started:
            self.reset(frames, masks)
            return
        self.steps += 1
        try:
            observations, reward, ended, cut_off, info = five(self.vector.step(self.action.read(words)))
            # As few calls of numpy as can be: each costs as much as some carts.
            rewards[:], terminated[:], truncated[:] = reward, ended, cut_off
        except Exception as error:
            raise self.fault("step", error) from None
        self._write("step", observations, info, frames, masks)

    def close(self):
        self.vector.close()
