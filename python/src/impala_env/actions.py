"""Gymnasium's action spaces as 4-byte words: first all choices, i32 counted from 0, then all numbers, f32.

- `Discrete` is one choice, `MultiDiscrete` and `MultiBinary` are several;
- a `Box` of floats is numbers within its bounds;
- a `Box` of integers is a choice for each element if none has more than `MOST_CHOICES` values, else numbers that are
  rounded;
- a `Dict` or `Tuple` is what its parts are, in the order of `space.spaces`, depth first. Environments get back a dict or
  tuple.
"""

import math

import numpy as np
from gymnasium import spaces

from .errors import EnvFault, Unusable
from .spaces import MASK, one_text, unsupported

MOST_CHOICES = 64
"""An element of an integer `Box` with more values is a number: they have an order, which choices do not know."""


class Part:
    """One leaf of an action space. sizes: of its choices; low, high: of its numbers; one of the two is empty."""

    def __init__(self, path, space):
        self.path, self.space = path, space
        self.sizes, self.start, self.low, self.high = [], 0, np.zeros(0, np.float32), np.zeros(0, np.float32)
        self.shape = space.shape
        self.dtype = space.dtype
        if isinstance(space, spaces.Discrete):
            self.sizes, self.start = [int(space.n)], space.start
        elif isinstance(space, spaces.MultiDiscrete):
            self.sizes = [int(n) for n in space.nvec.reshape(-1)]
            self.start = np.broadcast_to(space.start, space.nvec.shape).astype(space.dtype)
        elif isinstance(space, spaces.MultiBinary):
            self.sizes = [2] * math.prod(space.shape)
        elif isinstance(space, spaces.Box) and space.dtype.kind in "iu":
            counts = [int(high) - int(low) + 1 for low, high in zip(space.low.reshape(-1), space.high.reshape(-1))]
            if counts and max(counts) <= MOST_CHOICES:
                self.sizes, self.start = counts, space.low
            else:
                self._numbers(space)
        elif isinstance(space, spaces.Box) and space.dtype.kind == "f":
            self._numbers(space)
        else:
            raise unsupported("action" + path, space)
        self.words = len(self.sizes) or len(self.low)
        if self.words == 0 or self.sizes and min(self.sizes) < 1:
            raise Unusable(f"the action space {one_text(space)} has no actions")
        self.shifted = bool(np.any(self.start))
        self.rounded = len(self.low) > 0 and self.dtype.kind in "iu"
        # The bounds that the actor knows are f32: rounded, they may lie outside of those of another float.
        self.clipped = len(self.low) > 0 and self.dtype.kind == "f" and self.dtype != np.float32

    def _numbers(self, space):
        self.low = space.low.reshape(-1).astype(np.float32)
        self.high = space.high.reshape(-1).astype(np.float32)

    def read(self, words):
        """A batch of this part, of its words in the shape of the space."""
        if self.rounded:
            return self._round(words)
        actions = words.astype(self.dtype)
        if self.clipped:
            return np.clip(actions, self.space.low, self.space.high)
        # In the dtype of the space: a shift must not widen it.
        return (actions + self.start).astype(self.dtype, copy=False) if self.shifted else actions

    def allowed(self, mask, shape):
        """`[*shape][sum of sizes]` of a mask of this part alone, if it has as many elements."""
        found = _flattened(mask, shape)
        if isinstance(self.space, spaces.MultiBinary) and found.size == np.prod((*shape, len(self.sizes))):
            # Gymnasium's form: 0 and 1 are what a switch must be, 2 leaves it free.
            switches = found.reshape(*shape, -1, 1)
            found = (switches == 2) | (switches == np.arange(2))
        return found

    def _round(self, words):
        low, high = self.space.low, self.space.high
        numbers = np.rint(words.astype(np.float64))
        with np.errstate(invalid="ignore"):
            actions = numbers.astype(self.dtype)
        # Where the bounds of a wide type are no floats, the cast above may have gone round.
        actions = np.where(numbers >= high.astype(np.float64), high, actions)
        return np.where(numbers <= low.astype(np.float64), low, actions).astype(self.dtype)


class Action:
    """How 4-byte words become actions. kind: "discrete", "multi_discrete", "continuous" or "hybrid"; logits: the
    length of a mask."""

    def __init__(self, space):
        self.space = space
        self.parts = []
        self.tree = self._grow(space, "")
        self.plain = len(self.parts) == 1 and self.parts[0].space is space and not self.parts[0].rounded
        if not self.parts:
            raise Unusable(f"the action space {one_text(space)} has no actions")
        self.sizes = [size for part in self.parts for size in part.sizes]
        self.low = np.concatenate([part.low for part in self.parts])
        self.high = np.concatenate([part.high for part in self.parts])
        self.words = len(self.sizes) + len(self.low)
        self.logits = sum(self.sizes)
        # Where the words of each part begin: choices come first.
        choice, number = 0, len(self.sizes)
        for part in self.parts:
            if part.sizes:
                part.at, choice = choice, choice + part.words
            else:
                part.at, number = number, number + part.words
        if not self.sizes:
            self.kind = "continuous"
        elif len(self.low):
            self.kind = "hybrid"
        else:
            self.kind = "discrete" if isinstance(space, spaces.Discrete) else "multi_discrete"
        self.numpy = np.dtype(np.float32 if self.kind == "continuous" else np.int32)

    def _grow(self, space, path):
        """The space as nested dicts and tuples of parts."""
        if isinstance(space, spaces.Dict):
            return {key: self._grow(child, f"{path}[{key!r}]") for key, child in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            return tuple(self._grow(child, f"{path}[{index}]") for index, child in enumerate(space.spaces))
        part = Part(path, space)
        self.parts.append(part)
        return part

    def view(self, words):
        """Words `[envs][W]` as `read` takes them, without a copy: in the shape of the space if it is no tree."""
        return words.reshape(len(words), *self.space.shape) if self.plain else words

    def read(self, words):
        """A batch of actions as a vector environment takes them, of a view of the words: the tree, with arrays
        `[envs][shape]`."""
        if self.plain:
            return self.parts[0].read(words)
        return _built(self.tree, lambda part: self._read_part(part, words))

    def read_each(self, words):
        """The action of each environment."""
        if self.plain:
            return self.parts[0].read(words)
        read = {id(part): self._read_part(part, words) for part in self.parts}
        return [_built(self.tree, lambda part: read[id(part)][index]) for index in range(len(words))]

    def _read_part(self, part, words):
        own = words[:, part.at : part.at + part.words]
        if not part.sizes and words.dtype != np.float32:
            own = own.view(np.float32)
        return part.read(own.reshape(len(words), *part.shape))

    def mask(self, mask, shape):
        """What is allowed, `[*shape][logits]` of bool: `mask` is flat in the order of the choices, or a tree as the
        space is one, with None where all is allowed and for numbers."""
        whole = (*shape, self.logits)
        if not isinstance(self.tree, (dict, tuple)):
            flat = self.tree.allowed(mask, shape)
        elif isinstance(mask, (dict, tuple)):
            flat = np.concatenate(list(self._masks(self.tree, mask, shape, "")), axis=-1)
        else:
            flat = np.asarray(mask)
        if flat.size != np.prod(whole):
            raise EnvFault(f"{MASK} has shape {list(flat.shape)}, but there are {self.logits} actions")
        return flat.reshape(whole) != 0

    def _masks(self, tree, mask, shape, path):
        if isinstance(tree, (dict, tuple)):
            pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
            for key, child in pairs:
                try:
                    found = None if mask is None else mask[key]
                except (KeyError, IndexError, TypeError):
                    raise EnvFault(f"{MASK}{path} has nothing for {key!r}: give None where all is allowed") from None
                yield from self._masks(child, found, shape, f"{path}[{key!r}]")
        elif tree.sizes:
            whole = (*shape, sum(tree.sizes))
            found = np.ones(whole) if mask is None else tree.allowed(mask, shape)
            if found.size != np.prod(whole):
                raise EnvFault(f"{MASK}{path} has shape {list(found.shape)}, but there are {whole[-1]} actions")
            yield found.reshape(whole)

    def describe(self):
        if self.kind == "discrete":
            return {"kind": "discrete", "n": self.sizes[0]}
        # JSON has no infinity.
        bound = lambda numbers: [float(x) if math.isfinite(x) else None for x in numbers]
        sizes = {"sizes": self.sizes} if self.sizes else {}
        bounds = {"low": bound(self.low), "high": bound(self.high)} if len(self.low) else {}
        return {"kind": self.kind, **sizes, **bounds}


def _built(tree, leaf):
    if isinstance(tree, dict):
        return {key: _built(child, leaf) for key, child in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_built(child, leaf) for child in tree)
    return leaf(tree)


def _flattened(mask, shape):
    """One array of a mask, or of a tuple of masks of the choices of one space."""
    if isinstance(mask, (tuple, list)) and mask and not np.isscalar(mask[0]):
        return np.concatenate([_flattened(part, shape).reshape(*shape, -1) for part in mask], axis=-1)
    return np.asarray(mask)
