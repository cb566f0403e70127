"""Sends what a run writes to an experiment tracker, from a process of its own.

    impala-track runs/CartPole-v1-001 --tracker wandb

It only reads the run's folder, so nothing that happens to it reaches the run. A folder that is not there yet is waited for, a run that goes on is
followed to its end, one that has ended is sent as a whole. What a tracker takes from its environment it takes as ever: WANDB_MODE=offline,
MLFLOW_TRACKING_URI, ...
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from .errors import ImpalaError, MissingPackage, RunError, SettingError
from .runs import numbers

POLL_S = 0.5
"""Between two looks at a folder."""

START_S = 600
"""How long a folder without a run is waited for."""


class Tracker(Protocol):
    """Where lines of metrics go."""

    def log(self, values: dict[str, float], frames: int) -> None: ...
    def end(self, summary: dict[str, Any]) -> None: ...


class Wandb:
    """Weights & Biases: a run with its settings as configuration, metrics by frames, the summary as its summary."""

    def __init__(self, folder: Path, settings: dict[str, Any], project: str) -> None:
        import wandb

        self.run = wandb.init(project=project, name=folder.name, config=settings, dir=folder)

    def log(self, values: dict[str, float], frames: int) -> None:
        self.run.log(values, step=frames)

    def end(self, summary: dict[str, Any]) -> None:
        self.run.summary.update(summary)
        self.run.finish()


class Mlflow:
    """MLflow: a run with its settings as parameters, metrics by frames, the numbers of the summary as metrics, the rest as tags."""

    def __init__(self, folder: Path, settings: dict[str, Any], project: str) -> None:
        import mlflow

        self.mlflow = mlflow
        mlflow.set_experiment(project)
        mlflow.start_run(run_name=folder.name)
        mlflow.log_params({name: str(value)[:500] for name, value in settings.items()})

    def log(self, values: dict[str, float], frames: int) -> None:
        self.mlflow.log_metrics(values, step=frames)

    def end(self, summary: dict[str, Any]) -> None:
        for name, value in summary.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.mlflow.log_metric(f"summary.{name}", value)
            elif isinstance(value, (str, bool)):
                self.mlflow.set_tag(name, str(value))
        self.mlflow.end_run()


TRACKERS = {"wandb": Wandb, "mlflow": Mlflow}
"""By the name of the package that they need."""


def check(tracker: str) -> None:
    """Raises `SettingError` for a tracker that there is not, `MissingPackage` for one that is not installed."""
    if tracker not in TRACKERS:
        raise SettingError(f"there is no tracker {tracker!r}; there are {', '.join(TRACKERS)}", 2)
    if importlib.util.find_spec(tracker) is None:
        raise MissingPackage(f"the tracker {tracker} needs a package: pip install {tracker}", 2)


def follow(folder: Path, tracker: str, project: str, *, start_s: float = START_S) -> int:
    """Sends the run in `folder` until it has ended; gives how many lines of metrics were sent."""
    check(tracker)
    deadline = time.monotonic() + start_s
    while not (folder / "config.toml").is_file():
        if time.monotonic() > deadline:
            raise RunError(f"{folder} holds no run: it has no config.toml after {start_s:.0f} s", 3)
        time.sleep(POLL_S)
    settings = tomllib.loads((folder / "config.toml").read_text())
    to: Tracker = TRACKERS[tracker](folder, settings, project)
    sent = 0
    for line in _lines(folder / "metrics.jsonl", folder):
        values = {name: value for name, value in numbers(line) if value == value}
        to.log(values, int(line["frames"]))
        sent += 1
    to.end(_summary(folder))
    return sent


def _summary(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "summary.json").read_text())
    except (FileNotFoundError, ValueError):
        # It was killed.
        return {"status": "ended without a summary"}
    return {name: value for name, value in found.items() if isinstance(value, (str, int, float))}


def _lines(path: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Lines as they come, until the run has ended."""
    at, rest = 0, b""
    while True:
        # Asked before the last look: what was written until then is seen.
        ended = not is_running(folder)
        try:
            with open(path, "rb") as file:
                file.seek(at)
                rest += (text := file.read())
                at += len(text)
        except FileNotFoundError:
            pass
        *whole, rest = rest.split(b"\n")
        for line in whole:
            try:
                yield json.loads(line)
            except ValueError:
                continue
        if ended:
            return
        time.sleep(POLL_S)


def is_running(folder: Path) -> bool:
    """Whether a supervisor holds the folder. Looks at the locks of the machine and takes none: that could be in the way of a run."""
    # By inode alone: some file systems tell stat another device than they tell here.
    inode = f":{os.stat(folder).st_ino}"
    with open("/proc/locks") as locks:
        return any(" FLOCK " in line and any(word.endswith(inode) for word in line.split()) for line in locks)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="impala-track", description="Sends what a run writes to an experiment tracker.")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder; one that is not there yet is waited for")
    parser.add_argument("--tracker", required=True, choices=list(TRACKERS), help="where to; the package of this name is needed")
    parser.add_argument("--project", default="impala-rl", help="project or experiment there [%(default)s]")
    args = parser.parse_args()
    try:
        sent = follow(args.run_dir, args.tracker, args.project)
    except ImpalaError as error:
        print(f"impala-track: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        # Whatever a tracker has: a line, and nothing of the run is touched.
        print(f"impala-track: {args.tracker}: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        sys.exit(1)
    print(f"impala-track: {sent} lines of {args.run_dir} were sent to {args.tracker}")


if __name__ == "__main__":
    main()
