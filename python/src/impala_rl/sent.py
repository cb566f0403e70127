"""Environments that a program sends to its workers: importing this module registers `impala_rl/Sent-v0`.

A worker imports it because the name of the environment says so (`gym:impala_rl.sent:impala_rl/Sent-v0`), with the file as its
option `file`. Nothing of the program that trains runs again: no `if __name__ == "__main__"` is needed.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any, NamedTuple

import gymnasium


class Sent(NamedTuple):
    """A class or function that makes environments, and where its modules are found."""

    import_path: list[str]
    payload: bytes


class SentError(ImportError):
    """What was sent cannot be made into an environment here."""


def load(file: str) -> Any:
    """What was sent."""
    with open(file, "rb") as stream:
        sent = pickle.load(stream)
    # Behind the folders of this Python: it may be another one than that of the program.
    sys.path.extend(entry for entry in sent.import_path if entry not in sys.path)
    try:
        # Of cloudpickle too: it is a pickle that names cloudpickle's own functions.
        return pickle.loads(sent.payload)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise SentError(f"what was sent cannot be imported: {reason}; it must be importable from {sys.executable}") from None


def make(file: str, **options: Any) -> gymnasium.Env:
    """Makes one environment of what was sent."""
    return load(file)(**options)


gymnasium.register(id="impala_rl/Sent-v0", entry_point="impala_rl.sent:make")
