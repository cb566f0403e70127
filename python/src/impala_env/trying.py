"""Steps environments with random actions and looks at what comes: before a run, and for `impala_env.check`."""

import contextlib
import signal
import threading
import time

import numpy as np
from gymnasium import spaces

from .errors import EnvFault
from .spaces import MASK

STEPS = 20
"""Vector steps that are tried before a run, and more until an episode has ended and the next has begun."""
MOST_STEPS = 250
SECONDS = 2.0
"""Nobody waits longer for a slow environment than this and one step that cannot be interrupted."""


def random_words(batch, rows):
    rng, action = np.random.default_rng(0), batch.action
    shape = (rows, batch.envs, action.words)
    words, choices = np.zeros(shape, np.int32), len(action.sizes)
    words[..., :choices] = rng.integers(0, action.sizes or 1, (*shape[:2], choices))
    low, high = np.maximum(action.low, -1e3), np.minimum(action.high, 1e3)
    # Where one of them lies beyond the other's limit.
    low, high = np.minimum(low, action.high), np.maximum(high, action.low)
    drawn = rng.uniform(low, high, (*shape[:2], len(low))).astype(np.float32)
    words[..., choices:] = np.clip(drawn, action.low, action.high).view(np.int32)
    return words.view(action.numpy)


class Trial:
    """One batch of environments that is tried.

    spent: seconds within its steps; episodes: how many ended; notes: what is odd, and no fault.
    """

    def __init__(self, batch):
        envs = batch.envs
        self.batch = batch
        self.frames = np.zeros((envs, *batch.observation.shape), batch.observation.numpy)
        self.seen = batch.observation.view(self.frames)
        self.rewards, self.ends = np.zeros(envs, np.float32), np.zeros((2, envs), np.uint8)
        self.over = np.zeros(envs, bool)
        self.masks = np.ones((envs, batch.action.logits), np.uint8) if batch.masks else None
        self.words = random_words(batch, 256)
        self.steps, self.spent, self.episodes, self.after_an_end = 0, 0.0, 0, 0
        self.low, self.high = np.inf, -np.inf
        self.notes = {}

    def reset(self):
        self.batch.reset(self.seen, self.masks)
        self._look("in reset")

    def step(self):
        chosen = self.words[self.steps % len(self.words)]
        if self.masks is not None:
            chosen = allowed(self.batch.action, chosen, self.masks)
        started = time.perf_counter()
        self.batch.step(self.batch.action.view(chosen), self.seen, self.rewards, *self.ends, self.masks)
        self.spent += time.perf_counter() - started
        self.steps += 1
        # Where an episode was over, this was the reset.
        self.rewards[self.over] = 0
        self.after_an_end += int(self.over.any())
        self.over = ((self.ends[0] | self.ends[1]) != 0) & ~self.over
        self.episodes += int(self.over.sum())
        self._look(f"at step {self.steps}")
        self.low, self.high = min(self.low, self.rewards.min()), max(self.high, self.rewards.max())

    def _look(self, when):
        for what, numbers in (("a reward", self.rewards), ("an observation", self.frames)):
            if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
                index = int(np.argwhere(~np.isfinite(numbers))[0][0])
                raise EnvFault(f"environment {index} gave {what} that is not finite {when}: give numbers")
        if self.masks is not None:
            self._look_at_masks(when)
        for part in self.batch.observation.parts:
            if isinstance(part.space, spaces.Box) and part.path not in self.notes:
                self._look_at_bounds(part, when)

    def _look_at_masks(self, when):
        offset = 0
        for size in self.batch.action.sizes:
            # Where an episode is over, no action follows.
            nothing = ~self.masks[:, offset : offset + size].any(axis=1) & ~self.over
            if nothing.any():
                raise EnvFault(
                    f"environment {int(nothing.argmax())} gave an {MASK} that allows nothing {when}: allow one action at least"
                )
            offset += size

    def _look_at_bounds(self, part, when):
        observation = self.batch.observation
        values = self.seen if observation.plain else self.frames[:, part.start : part.start + part.length]
        values = values.reshape(len(self.frames), *part.space.shape)
        scale = np.float32(255 if part.kind == "bytes / 255" else 1)
        low, high = (bound.astype(np.float32) for bound in (part.space.low, part.space.high))
        values = values.astype(np.float32) * scale
        # The rounding to f32 is nobody's fault.
        room = 1e-5 * np.maximum(1, np.abs(np.nan_to_num(values)))
        beyond = (values < low - room) | (values > high + room)
        if beyond.any():
            at = tuple(np.argwhere(beyond)[0])
            self.notes[part.path] = (
                f"observation{part.path} was {values[at]:g} {when}, but its space goes from {low[at[1:]]:g} to {high[at[1:]]:g}"
            )


def stepped(batch, steps):
    """Takes so many steps, and says how fast it went."""
    trial = Trial(batch)
    trial.reset()
    for _ in range(steps):
        trial.step()
    return {
        "steps_per_s": steps * batch.envs / trial.spent,
        "us_per_vector_step": trial.spent / steps * 1e6,
        "episodes": trial.episodes,
        "reward_range": [float(trial.low), float(trial.high)],
        "notes": list(trial.notes.values()),
    }


def tried(batch):
    """Takes some steps, if there is time across the end of an episode, and gives what is odd."""
    trial = Trial(batch)
    started = time.monotonic()
    with _no_longer_than(SECONDS):
        trial.reset()
        while trial.steps < STEPS or trial.after_an_end == 0 and trial.steps < MOST_STEPS:
            if time.monotonic() - started > SECONDS:
                break
            trial.step()
    slow = [f"a step of it takes more than {SECONDS:g} s, so it was not tried"] if trial.steps == 0 else []
    return slow + list(trial.notes.values())


class _TimeIsUp(BaseException):
    """No `Exception`: an environment should not take it for its own."""


@contextlib.contextmanager
def _no_longer_than(seconds):
    """Leaves its block when the time is up. What is broken off may be left in any state: the worker of a trial
    is needed for nothing else. Outside of the main thread, where no signal can come, nothing is broken off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def up(*_):
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, up)
    try:
        try:
            # Again and again, for an environment that catches everything.
            signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TimeIsUp:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def allowed(action, words, masks):
    """The same actions, where they are allowed, else the first that is."""
    words, offset = words.copy(), 0
    for column, size in enumerate(action.sizes):
        part = masks[:, offset : offset + size]
        rows = np.arange(len(words))
        words[:, column] = np.where(part[rows, words[:, column]], words[:, column], part.argmax(axis=1))
        offset += size
    return words
