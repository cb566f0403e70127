"""What can go wrong, in words for the user."""

import os
import traceback
from typing import NamedTuple

_HERE = __name__.rpartition(".")[0]
_MAX_LINE_CHARS = 400
_MAX_CHARS = 6_000
"""Longest traceback: the supervisor shows no more than 8 KiB."""


class Setting(NamedTuple):
    """Something that was asked for, as a remedy names it; who shows the remedy says it by a flag of its own.

    name: `env`, `options`, `wrapper`, `envs`, `seed`, `path` and `keys` of the first message of
    `docs/environment-abi.md`, or `python`, which runs the worker; value: None for the setting as such.
    """

    name: str
    value: str | None = None


class Unusable(Exception):
    """The environment cannot be used as it was asked for: one line, nothing in it is a bug.

    remedy: what to do, texts and `Setting`s in turn.
    """

    def __init__(self, problem, *remedy):
        super().__init__(problem)
        self.remedy = remedy


def put(remedy, flags):
    """The remedy as a text that follows the problem; `flags` has the flag of each setting by name."""
    texts = []
    for part in remedy:
        if isinstance(part, Setting):
            part = " ".join(filter(None, (flags[part.name], part.value)))
        texts.append(part)
    return "; " + "".join(texts) if texts else ""


class EnvFault(Exception):
    """The environment failed while it was at work. `line` is the same on one line, without a traceback; `remedy` is as
    for `Unusable`."""

    def __init__(self, text, line=None, remedy=()):
        super().__init__(text)
        self.line = one_line(line or text)
        self.remedy = remedy


def one_line(text):
    """`text` without line breaks and runs of blanks."""
    return " ".join(str(text).split())


def described(error):
    """The traceback of `error`, without the frames of this package at its head."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        if frames.tb_frame.f_globals.get("__package__") != _HERE:
            break
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames)).rstrip()
    if len(text) > _MAX_CHARS:
        half = _MAX_CHARS // 2
        text = f"{text[:half]}\n  [...]\n{text[-half:]}"
    return text


def summary(error):
    """`error` on one line: what it says, and the file and line that raised it."""
    said = one_line(error)[:_MAX_LINE_CHARS]
    return f"{type(error).__name__}{': ' if said else ''}{said} ({location(error)})"


def location(error):
    """File and line that raised `error`: of the user's code, if it passed through any."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{os.path.basename(error.filename)}:{error.lineno}"
    own = [frame for frame in frames if not _is_foreign(frame.filename)]
    if not frames:
        return "unknown place"
    last = (own or frames)[-1]
    return f"{os.path.basename(last.filename)}:{last.lineno}"


def _is_foreign(path):
    """Whether a file is of a package, of Python itself, or of this package."""
    library = os.path.dirname(os.__file__)
    # Sent by an actor this package has no files.
    here = os.path.dirname(globals().get("__file__", "")) or library
    return path.startswith(("<", library, here)) or "site-packages" in path
