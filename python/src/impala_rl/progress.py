"""The live line of a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

PLAIN_INTERVAL_S = 10.0
"""Between two lines where none can be written over."""


def si(number: float) -> str:
    """1234567 as 1.2M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.1f}{unit}"
    return f"{number:.0f}"


def text(progress: Mapping[str, Any], total_frames: int | None) -> str:
    """One line: frames, of how many, how fast, and the mean return."""
    frames, mean = progress["frames"], progress["return_mean"]
    of = f" of {si(total_frames)} ({100 * frames / total_frames:.0f} %)" if total_frames else ""
    shown = "-" if mean is None else f"{mean:.1f}"
    return f"{si(frames)} frames{of}, {si(progress['frames_per_s'])} frames/s, return {shown}, {progress['wall_s']:.0f} s"


class Line:
    """Written over on a terminal and in a notebook, written anew now and then elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.notebook = "ipykernel" in sys.modules
        self.stream = stream or (sys.stdout if self.notebook else sys.stderr)
        self.over = self.notebook or self.stream.isatty()
        self.width = 0
        self.said_s = float("-inf")

    def show(self, line: str) -> None:
        now = time.monotonic()
        if not self.over and now - self.said_s < PLAIN_INTERVAL_S:
            return
        self.said_s = now
        if self.over:
            self.stream.write("\r" + line.ljust(self.width))
            self.width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def end(self, line: str) -> None:
        """The last line, which stays."""
        self.stream.write(("\r" if self.over else "") + line.ljust(self.width) + "\n")
        self.stream.flush()
