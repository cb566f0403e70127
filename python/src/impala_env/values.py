"""What an environment says of itself and gives: whether it is what Gymnasium asks for, and what to do if not."""

import re

import numpy as np

from .errors import EnvFault, Setting, Unusable, one_line

OLD = Setting("wrapper", "impala_env.compat:old_gym"), " takes what gym before 0.26 gave"
FIVE = "(observation, reward, terminated, truncated, info)"


def declared(env, name):
    """A space of an environment."""
    from gymnasium import spaces

    space = getattr(env, name, None)
    if isinstance(space, spaces.Space):
        return space
    if space is None:
        raise Unusable(f"it has no {name}: set self.{name} in its __init__ to one of gymnasium.spaces")
    kind = type(space)
    if kind.__module__.split(".")[0] == "gym":
        raise Unusable(
            f"its {name} is of the old package gym ({kind.__module__}.{kind.__name__}): write "
            "`from gymnasium import spaces` where it has `from gym import spaces`"
        )
    raise Unusable(
        f"its {name} is not a space but {one_line(repr(space))[:80]} ({kind.__name__}): take one of gymnasium.spaces, "
        "such as spaces.Box or spaces.Discrete"
    )


def two(found):
    """What a reset gave."""
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict):
        return found
    if isinstance(found, tuple) and len(found) == 2:
        raise EnvFault(
            f"reset gave an info that is {shown(found[1])} and no dict: return (observation, info), {{}} if there is nothing to say"
        )
    raise EnvFault(
        f"reset gave {shown(found)} and not (observation, info): return `observation, {{}}`", remedy=OLD
    )


def five(result):
    """What a step gave."""
    if isinstance(result, tuple) and len(result) == 5:
        if not isinstance(result[4], dict):
            raise EnvFault(f"step gave an info that is {shown(result[4])}, not a dict: give {{}} if there is nothing to say")
        return result
    if isinstance(result, tuple) and len(result) == 4:
        raise EnvFault(f"step gave 4 values and not {FIVE}: say apart what ended and what was cut off", remedy=OLD)
    count = f"{len(result)} values" if isinstance(result, tuple) else shown(result)
    raise EnvFault(f"step gave {count} and not {FIVE}: return these five")


def number(reward):
    """A reward as a number: what is one, or holds exactly one."""
    try:
        array = np.asarray(reward)
    except Exception:
        array = np.asarray(None)
    if array.dtype == object and array.size == 1 and isinstance(array.item(), (bool, int, float)):
        array = np.asarray(array.item())
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise EnvFault(f"step gave a reward that is {shown(reward)}, not a number: give one, such as 0.0")
    return array.item()


def truth(name, value):
    """Whether an episode is over, as True or False."""
    if value is True or value is False:
        return value
    try:
        array = np.asarray(value)
    except Exception:
        array = np.asarray(None)
    if array.size == 1 and array.dtype.kind in "biuf" and array.item() in (0, 1):
        return bool(array.item())
    raise EnvFault(f"step gave a {name} that is {shown(value)} and neither True nor False: step gives {FIVE}")


def shown(value):
    """A value in a few words."""
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"an array of shape {list(value.shape)}"
    return one_line(repr(value))[:100]


def wrong_call(what, error):
    """What `error` means if it comes of an environment with the methods of old gym; None if it does not."""
    text = str(error)
    if not isinstance(error, (TypeError, ValueError)):
        return None
    if what == "reset" and re.search(
        r"\breset\(\) (got an unexpected keyword argument '(seed|options)'|takes .*positional argument)", text
    ):
        return EnvFault(
            f"its reset does not take what it must ({one_line(text)}): write `def reset(self, *, seed=None, options=None)`",
            remedy=OLD,
        )
    # Wrappers of gymnasium itself take apart what they are given.
    if "unpack" in text and _within_gymnasium(error):
        if what == "step":
            got = re.search(r"got (\d+)", text)
            gave = f"{got[1]} values" if got else "something else"
            return EnvFault(f"step gave {gave} and not {FIVE}: return these five", remedy=OLD)
        return EnvFault(f"{what} did not give (observation, info): return `observation, {{}}`", remedy=OLD)
    return None


def _within_gymnasium(error):
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    return frames is not None and frames.tb_frame.f_globals.get("__name__", "").split(".")[0] == "gymnasium"
