"""Gymnasium's spaces as flat arrays of numbers.

Observations become one array of `u8` or `f32` for each environment:

- a `Box` of uint8 alone keeps its bytes and its shape; an image with its channels last (`[H, W, 1]`,
  `[H, W, 3]`, `[H, W, 4]`) gets them first, and a single channel is dropped: `[84, 84, 3]` becomes
  `[3, 84, 84]`, `[1, 84, 84]` and `[84, 84, 1]` become `[84, 84]`;
- any other `Box` becomes f32 in its shape;
- `Discrete(n)` becomes n numbers, one of them 1; `MultiDiscrete` the same for each of its parts in turn;
- `MultiBinary` becomes 0 and 1;
- `Dict` and `Tuple` become one f32 vector (of the parts that are named to be seen, in that order): the parts in the order of `space.spaces` (for a plain dict
  gymnasium sorts the keys), each flattened in C order, depth first, bytes divided by 255. If there is only
  one part, it is taken as if it stood alone. The key `action_mask` at the top of a `Dict` is no part of
  the observation: it says which actions are allowed.

Actions are 4-byte words: i32 choices counted from 0, or f32 numbers; see `actions.py`.
"""

import math

import numpy as np
from gymnasium import spaces

from .errors import EnvFault, Unusable
from .keys import selected, what_to_see

MASK = "action_mask"

_CHANNELS = (1, 3, 4)


class Part:
    """One leaf of an observation space: where it lies in the frame, and how it gets there."""

    def __init__(self, path, space):
        self.path = path
        self.space = space
        self.start = 0
        if isinstance(space, spaces.Discrete):
            self.length, self.kind = int(space.n), "one-hot"
        elif isinstance(space, spaces.MultiDiscrete):
            self.length, self.kind = int(space.nvec.sum()), "one-hot of each"
        elif isinstance(space, spaces.MultiBinary):
            self.length, self.kind = math.prod(space.shape), "0 or 1"
        elif isinstance(space, spaces.Box):
            self.length = math.prod(space.shape)
            self.kind = "bytes / 255" if space.dtype == np.uint8 else "as f32"
        else:
            raise unsupported("observation" + path, space)

    def fetch(self, observation):
        """This part of a structured observation."""
        for key in self.keys:
            try:
                observation = observation[key]
            except (KeyError, IndexError, TypeError):
                raise EnvFault(f"observation{self.path} is missing from {observation!r:.200}") from None
        return observation

    def flat(self, values, envs):
        """`[envs][length]` f32 of a batch of values."""
        space = self.space
        array = self.array(values)
        expected = (envs, *space.shape)
        if array.shape != expected:
            raise EnvFault(
                f"observation{self.path} has shape {list(array.shape[1:])}, "
                f"but its space {space} says {list(space.shape)}{nothing(array)}"
            )
        if array.dtype.kind not in "fiub":
            raise EnvFault(f"observation{self.path} is of dtype {array.dtype}, but its space is {space}")
        if isinstance(space, spaces.Discrete):
            return one_hot(array[:, None], [int(space.n)], [int(space.start)], self.path)
        if isinstance(space, spaces.MultiDiscrete):
            starts = np.broadcast_to(space.start, space.nvec.shape).reshape(-1)
            return one_hot(array.reshape(envs, -1), space.nvec.reshape(-1), starts, self.path)
        if self.kind == "0 or 1" and ((array != 0) & (array != 1)).any():
            raise EnvFault(f"observation{self.path} is {array[0].tolist()}, but its space has 0 and 1 only")
        flat = array.reshape(envs, -1).astype(np.float32)
        if self.kind == "bytes / 255":
            flat *= np.float32(1 / 255)
        return flat

    def array(self, values):
        try:
            return np.asarray(values)
        except ValueError as error:
            raise EnvFault(f"observation{self.path} is not an array: {error}") from None


def nothing(array):
    """What to add where the reason is that an environment gave None."""
    return " (it is None)" if array.dtype == object and array.size and array.flat[0] is None else ""


def one_hot(array, sizes, starts, path):
    envs = len(array)
    if array.dtype.kind == "f":
        raise EnvFault(f"observation{path} is of dtype {array.dtype}, but its space has whole numbers")
    out = np.zeros((envs, int(sum(sizes))), np.float32)
    rows, offset = np.arange(envs), 0
    for column, (size, start) in enumerate(zip(sizes, starts)):
        at = array[:, column].astype(np.int64) - int(start)
        if ((at < 0) | (at >= size)).any():
            raise EnvFault(
                f"observation{path} is {array[:, column].tolist()}, but its space has {int(size)} values "
                f"from {int(start)}"
            )
        out[rows, offset + at] = 1
        offset += int(size)
    return out


def unsupported(what, space):
    kind = type(space).__name__
    return Unusable(
        f"{what} is a {kind} space, which is not supported ({one_text(space)}); there are Box, Discrete, "
        "MultiDiscrete, MultiBinary, and Dict and Tuple of these"
    )


def one_text(space):
    return " ".join(str(space).split())[:200]


def _leaves(space, path, keys):
    if isinstance(space, spaces.Dict):
        items = [(f"[{key!r}]", key, child) for key, child in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        items = [(f"[{index}]", index, child) for index, child in enumerate(space.spaces)]
    else:
        part = Part(path, space)
        part.keys = keys
        return [part]
    found = []
    for name, key, child in items:
        if not keys and isinstance(space, spaces.Dict) and key == MASK:
            continue
        found += _leaves(child, path + name, (*keys, key))
    return found


def learnable(space):
    """Whether a network can be shown this."""
    try:
        return bool(_leaves(space, "", (None,)))
    except Unusable:
        return False


class Observation:
    """How the observations of one environment become a frame.

    dtype: "u8" or "f32"; shape: of one frame; parts: the leaves, in order, or those that `keys` name in theirs.
    """

    def __init__(self, space, keys=None):
        self.space = space
        if keys:
            self.parts = [part for found in selected(space, keys, MASK) for part in _leaves(*found)]
        else:
            try:
                self.parts = _leaves(space, "", ())
            except Unusable as refusal:
                raise Unusable(str(refusal), *what_to_see(space, learnable, MASK)) from None
        self.masks = isinstance(space, spaces.Dict) and MASK in space.spaces
        if not self.parts:
            raise Unusable(f"the observation space {one_text(space)} has no parts")
        start = 0
        for part in self.parts:
            part.start = start
            start += part.length
        self.only = self.parts[0] if len(self.parts) == 1 else None
        box = self.only is not None and isinstance(self.only.space, spaces.Box)
        self.bytes = box and self.only.space.dtype == np.uint8
        if self.bytes:
            self.only.kind = "bytes"
        self.dtype = "u8" if self.bytes else "f32"
        self.numpy = np.dtype(np.uint8 if self.bytes else np.float32)
        self.channels_last = False
        self.plain = box
        shape = list(self.only.space.shape) if box else [start]
        if self.bytes and len(shape) == 3:
            if shape[2] in _CHANNELS and shape[0] not in _CHANNELS:
                self.channels_last = True
                shape = [shape[2], shape[0], shape[1]]
            if shape[0] == 1:
                shape = shape[1:]
        self.shape = shape or [1]
        if math.prod(self.shape) == 0:
            raise Unusable(f"the observation space {one_text(space)} has no elements")
        # What a batch of values must look like to be copied as it is.
        self.space_shape = tuple(self.only.space.shape) if box else None

    def view(self, frames):
        """Frames `[envs][*shape]` as `write` takes them: in the order of the space, without a copy."""
        envs = len(frames)
        if not self.plain:
            return frames.reshape(envs, -1)
        if self.channels_last:
            height, width, channels = self.space_shape
            return np.moveaxis(frames.reshape(envs, channels, height, width), 1, 3)
        return frames.reshape(envs, *self.space_shape)

    def write(self, values, out):
        """Writes a batch of observations: `values` as a vector environment gives them, `out` a view of
        the frames."""
        if not self.plain:
            for part in self.parts:
                out[:, part.start : part.start + part.length] = part.flat(part.fetch(values), len(out))
            return
        part = self.only
        array = part.array(part.fetch(values) if part.keys else values)
        if array.shape != out.shape:
            raise EnvFault(
                f"observation{part.path} has shape {list(array.shape[1:])}, but its space {one_text(part.space)} "
                f"says {list(self.space_shape)}{nothing(array)}"
            )
        if self.bytes and array.dtype != np.uint8 or array.dtype.kind not in "fiub":
            raise EnvFault(
                f"observation{part.path} is of dtype {array.dtype}, but its space is {one_text(part.space)}"
            )
        out[...] = array

    def write_one(self, value, row):
        """Writes one observation of one environment into `row` of a view."""
        if not self.plain:
            for part in self.parts:
                found = part.flat(part.array(part.fetch(value))[None], 1)
                row[part.start : part.start + part.length] = found[0]
            return
        part = self.only
        array = part.array(part.fetch(value) if part.keys else value)
        if array.shape != row.shape or self.bytes and array.dtype != np.uint8 or array.dtype.kind not in "fiub":
            # Finds the words for what is wrong.
            self.write(array[None], row[None])
            return
        row[...] = array

    def describe(self):
        return {"dtype": self.dtype, "shape": [int(n) for n in self.shape]}
