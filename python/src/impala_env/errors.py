"""What can go wrong, in words for the user."""

import os
import traceback

_HERE = __name__.rpartition(".")[0]
_MAX_CHARS = 6_000
"""Longest traceback: the supervisor shows no more than 8 KiB."""


class Unusable(Exception):
    """The environment cannot be used as it was asked for: one line, nothing in it is a bug."""


class EnvFault(Exception):
    """The environment failed while it was at work."""


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


def location(error):
    """File and line that raised `error`, for a message of one line."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown place"
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}"
