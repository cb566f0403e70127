"""What every peer counts, and how it tells: one line of JSON at the end of its standard output."""

import json
import time
from importlib import metadata


class Meter:
    """Frames per second from the end of the warm-up on: imports, compilers and the first updates are not in it."""

    def __init__(self, seconds: float, warmup_updates: int = 3) -> None:
        self.seconds, self.left = seconds, warmup_updates
        self.first: tuple[int, float] | None = None
        self.last: tuple[int, float] | None = None

    def learned(self, frames: int) -> bool:
        """After an update: `frames` have been learned from until now. Each counts once, however many epochs use it.
        Gives whether the time is up."""
        now = time.perf_counter()
        if self.left > 0:
            self.left -= 1
            return False
        if self.first is None:
            self.first = (frames, now)
            return False
        self.last = (frames, now)
        return now - self.first[1] >= self.seconds

    def report(self, settings: dict[str, object], packages: list[str], episode_length: float | None = None) -> None:
        """`episode_length`: a late mean, which shows that it learns."""
        if self.first is None or self.last is None:
            raise SystemExit("no update was finished after the warm-up: give it more --seconds")
        frames, seconds = self.last[0] - self.first[0], self.last[1] - self.first[1]
        print(json.dumps({
            "frames_per_s": frames / seconds,
            "frames": frames,
            "measured_s": seconds,
            "episode_length": episode_length,
            "settings": settings,
            "versions": {name: metadata.version(name) for name in packages},
        }), flush=True)
