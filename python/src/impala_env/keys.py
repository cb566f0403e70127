"""Parts of an observation by name: `image`, `inner.speed`."""

import difflib

from gymnasium import spaces

from .errors import Setting, Unusable


def children(space):
    """Name, key and space of each part, none of a space that has no parts."""
    if isinstance(space, spaces.Dict):
        return [(str(key), key, child) for key, child in space.spaces.items()]
    if isinstance(space, spaces.Tuple):
        return [(str(index), index, child) for index, child in enumerate(space.spaces)]
    return []


def selected(space, keys, mask):
    """`(space, path, keys)` of each part that `keys` name, in their order."""
    if not children(space):
        kind = type(space).__name__
        raise Unusable(
            f"parts of a Dict are named to be seen, but its observation is a {kind} space without parts",
            "leave out ",
            Setting("keys"),
        )
    found, seen = [], []
    for name in keys:
        if name == mask and isinstance(space, spaces.Dict):
            raise Unusable(
                f"of the parts to be seen, {mask} is the mask of allowed actions and is not part of the observation: leave it out"
            )
        part = _find(space, name, "", ())
        if part is None:
            raise _unknown(space, name, mask)
        # One inside another would be seen twice as well.
        if twice := next((other for other in seen if other[: len(part[2])] == part[2][: len(other)]), None):
            raise Unusable(f"of the parts to be seen, {name} is seen twice, as {'.'.join(map(str, twice))}: leave one out")
        seen.append(part[2])
        found.append(part)
    return found


def _find(space, name, path, keys):
    # A key may itself hold a dot: what is there as a whole comes first.
    for known, key, child in children(space):
        here = (child, f"{path}[{key!r}]", (*keys, key))
        if known == name:
            return here
    for known, key, child in children(space):
        if name.startswith(f"{known}."):
            found = _find(child, name[len(known) + 1 :], f"{path}[{key!r}]", (*keys, key))
            if found:
                return found
    return None


def names(space, mask, before=""):
    """Names of all parts and of their parts."""
    for name, key, child in children(space):
        if before or key != mask or not isinstance(space, spaces.Dict):
            yield before + name
            yield from names(child, mask, f"{before}{name}.")


def _unknown(space, name, mask):
    known = list(names(space, mask))
    lower = {each.lower(): each for each in known}
    near = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, 3, 0.5)]
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return Unusable(f"its observation has no part {name}", f"{meant}there are {', '.join(known)[:300]}")


def what_to_see(space, learnable, mask):
    """How to do without what cannot be learnt from: a remedy."""
    ways = []
    good = list(_good(space, learnable, mask, ""))
    if good:
        ways += ["name what to see: ", Setting("keys", ",".join(good)), ", or "]
    ways += [
        "change it by ",
        Setting("wrapper", "wraps.py:see"),
        ", where wraps.py has "
        + (
            f"`import gymnasium; see = lambda env: gymnasium.wrappers.FilterObservation(env, {good!r})`"
            if good and isinstance(space, spaces.Dict) and all(name in space.spaces for name in good)
            else "`import gymnasium, numpy; see = lambda env: gymnasium.wrappers.TransformObservation("
            "env, lambda seen: numpy.zeros(1, numpy.float32), gymnasium.spaces.Box(-1, 1, (1,)))` with your own numbers"
        ),
    ]
    return ways


def _good(space, learnable, mask, before):
    for name, key, child in children(space):
        if not before and key == mask and isinstance(space, spaces.Dict):
            continue
        if learnable(child):
            yield before + name
        else:
            yield from _good(child, learnable, mask, f"{before}{name}.")
