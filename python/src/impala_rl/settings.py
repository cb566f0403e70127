"""From keyword arguments to flags of `impala-supervisor`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import _native
from .errors import SettingError

RESERVED = {
    "env": "give it as the first argument",
    "python": "environments run in the Python that calls",
    "run_dir": "",
}
"""Settings that are arguments of their own, with what to do instead."""


def flags(settings: Mapping[str, Any]) -> list[str]:
    """The flags of these settings, in their order. None leaves a setting at its default.

    Raises `SettingError` for a name that is not one, with the nearest that is.
    """
    known = set(_native.setting_names())
    found = []
    for name, value in settings.items():
        key = name.replace("_", "-")
        if key not in known:
            nearest = _native.nearest_setting(name)
            meant = f"did you mean {nearest.replace('-', '_')!r}?" if nearest else "`impala-supervisor --help` lists them"
            raise SettingError(f"there is no setting {name!r}; {meant}", 2)
        if value is None:
            continue
        if key == "env-arg":
            found += [f"--{key}={pair}" for pair in _pairs(value)]
        elif key == "stop-at-return" and isinstance(value, (list, tuple)):
            # One for each task.
            found += [f"--{key}={_text(name, target)}" for target in value]
        else:
            found.append(f"--{key}={_text(name, value)}")
    return found


def _pairs(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}={_option(part)}" for key, part in value.items()]
    if isinstance(value, str):
        return [value]
    return [str(pair) for pair in value]


def _option(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    if isinstance(value, Iterable):
        return ",".join(_text(name, part) for part in value)
    if hasattr(value, "__float__") or hasattr(value, "__index__"):
        return str(value)
    raise SettingError(f"{name} is {value!r:.60}, which is not a string, number, bool or list of these", 2)
