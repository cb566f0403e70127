"""What may be given as an environment: a name, or a class or function that makes one."""

from __future__ import annotations

import importlib.util
import pickle
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import EnvError
from .sent import Sent

PREFIXES = ("gym:", "envpool:")

SENT_ID = "gym:impala_rl.sent:impala_rl/Sent-v0"
"""The name under which a worker finds what was sent to it."""

SENT_FILE = "environment.pkl"
"""Where in a run folder it lies."""

BUILT_IN = (
    "CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "Catch-v0", "Recall-v0",
    "Synthetic-v0",
)
"""Environments in Rust: no Python steps them. A test compares the list with `impala-supervisor --list-envs`."""


def in_words(line: str, name: str) -> str:
    """A line of the programs about an environment that was sent, as one that its author knows by `name`: what was sent is gone, so nothing
    can be tried on it."""
    return re.sub(r"; `python -m impala_env\.check [^`]*` tells more", "", line).replace(SENT_ID, name)


def name_of(env: str | Sequence[str] | Callable[..., Any]) -> str:
    """What a run folder is called after it."""
    if isinstance(env, (list, tuple)):
        return "+".join(name_of(task) for task in env)
    if isinstance(env, str):
        text = env.removeprefix("gym:").removeprefix("envpool:").rpartition(":")[2]
    else:
        text = getattr(env, "__name__", type(env).__name__)
    return re.sub(r"[^0-9A-Za-z_.-]", "-", text).strip("-.") or "run"


def id_of(env: str) -> str:
    """The ID as `impala-supervisor` knows it: what is not built in is Gymnasium's, `LunarLander-v3` or `module:Maze-v0`."""
    if env in BUILT_IN or env.startswith(PREFIXES):
        return env
    if ":" in env or "/" in env or _gymnasium_knows(env):
        return f"gym:{env}"
    return env


def _gymnasium_knows(env: str) -> bool:
    if importlib.util.find_spec("gymnasium") is None:
        return False
    import gymnasium

    stem = re.sub(r"-v\d+$", "", env)
    return any(re.sub(r"-v\d+$", "", known) == stem for known in gymnasium.registry)


def check(env: Any) -> None:
    """Raises `EnvError` for what cannot be an environment."""
    if isinstance(env, str) or isinstance(env, (list, tuple)) and env and all(isinstance(task, str) for task in env):
        return
    if hasattr(env, "step") and not isinstance(env, type):
        raise EnvError(
            f"{type(env).__name__} is an environment that was made already; give its class, or a function that makes "
            "one, because each worker makes its own", 2
        )
    if not callable(env):
        raise EnvError(f"{env!r:.60} is neither the name of an environment, nor a list of names, nor a class or function that makes one", 2)


def send(env: Callable[..., Any], folder: Path) -> Path:
    """Writes `env` into `folder`, for the workers to take it from.

    Functions and classes of a module that can be imported are sent by their names, others (of `__main__`, of a notebook, of
    a function) as they are, by cloudpickle.
    """
    try:
        import cloudpickle as pickler
    except ImportError:
        pickler = pickle  # type: ignore[assignment]
        if getattr(env, "__module__", None) in ("__main__", None) or "<locals>" in getattr(env, "__qualname__", ""):
            raise EnvError(
                f"{_shown(env)} cannot be imported by its name; move it into a module, or `pip install cloudpickle`, which "
                "sends it as it is", 2
            ) from None
    try:
        payload = pickler.dumps(env)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise EnvError(
            f"{_shown(env)} cannot be sent to the workers: {reason}; make what cannot be pickled inside of it", 2
        ) from None
    path = folder / SENT_FILE
    path.write_bytes(pickle.dumps(Sent(_import_path(), payload)))
    return path


def _import_path() -> list[str]:
    """Where this program finds modules, as whole paths."""
    return [str(Path(entry).absolute()) for entry in sys.path if entry == "" or Path(entry).is_dir()]


def _shown(env: Any) -> str:
    module = getattr(env, "__module__", None)
    name = getattr(env, "__qualname__", None) or type(env).__name__
    return f"{module}.{name}" if module and module != "__main__" else name
