"""What a run left: settings, summary, curves, and its policy."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import programs
from .errors import ImpalaError, MissingPackage, RunError
from .policy import Policy

if TYPE_CHECKING:
    import matplotlib.figure
    import torch


class Run:
    """A run folder. `load` opens it, `train` gives it; it is read anew with each call."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / "config.toml").is_file():
            raise RunError(f"{self.path} holds no run: it has no config.toml; give runs/NAME", 3)

    def __repr__(self) -> str:
        summary = self.summary
        state = summary["status"] if summary else "not ended"
        return f"<impala_rl.Run {self.path} {state}>"

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the run, defaults too, with underscores: what `train` takes."""
        with open(self.path / "config.toml", "rb") as file:
            try:
                found = tomllib.load(file)
            except tomllib.TOMLDecodeError as error:
                raise RunError(f"{self.path / 'config.toml'} is damaged: {error}", 3) from None
        return {key.replace("-", "_"): value for key, value in found.items()}

    @property
    def summary(self) -> dict[str, Any] | None:
        """What the run came to (`summary.json`); None while it goes on."""
        try:
            text = (self.path / "summary.json").read_text()
        except FileNotFoundError:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise RunError(f"{self.path / 'summary.json'} is damaged: {error}", 3) from None

    def metrics(self) -> dict[str, np.ndarray]:
        """Columns of `metrics.jsonl`: one number a line, by name; `learner.updates` for what is nested.

        float64, NaN for null and for what an older line lacks. Lists, such as those of `per_actor`, are left out.
        """
        lines = []
        path = self.path / "metrics.jsonl"
        for number, text in enumerate(_complete_lines(path), 1):
            try:
                lines.append(dict(numbers(json.loads(text))))
            except ValueError:
                raise RunError(f"{path} is damaged in line {number}", 3) from None
        names = dict.fromkeys(name for line in lines for name in line)
        return {name: np.array([line.get(name, np.nan) for line in lines], np.float64) for name in names}

    def episodes(self) -> dict[str, np.ndarray]:
        """Columns of `episodes.csv`: `frames`, `seconds`, `return` and `length` of each finished episode, in their order.

        `frames` and `length` are int64, the others float64.
        """
        path = self.path / "episodes.csv"
        header, *lines = _complete_lines(path) or ["frames,seconds,return,length"]
        names = header.split(",")
        try:
            table = np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.zeros((0, len(names)))
            columns = {name: table[:, at] for at, name in enumerate(names)}
        except (ValueError, IndexError) as error:
            raise RunError(f"{path} is damaged: {' '.join(str(error).split())}", 3) from None
        whole = ("frames", "length")
        return {name: column.astype(np.int64) if name in whole else column for name, column in columns.items()}

    def checkpoints(self) -> list[Path]:
        """Folders of the checkpoints, oldest first."""
        folder = self.path / "checkpoints"
        names = [entry for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
        return sorted(names, key=lambda path: int(path.name))

    def policy(self, checkpoint: str | os.PathLike[str] | None = None, *, seed: int = 0) -> Policy:
        """The policy of the newest checkpoint that is whole, or of `checkpoint`. `seed` is that of the actions it draws."""
        return Policy(self.path if checkpoint is None else checkpoint, seed=seed)

    def to_torch(self, checkpoint: str | os.PathLike[str] | None = None) -> torch.nn.Module:
        """The network as a module of PyTorch, with the weights of `policy`: observations to outputs and values, and of a network that
        remembers to the next state, too.

        Its `state_dict` has the names of the checkpoint. Raises `MissingPackage` without the package torch.
        """
        try:
            from .to_torch import network
        except ModuleNotFoundError as error:
            raise MissingPackage(f"to_torch needs the package {error.name}: pip install torch", 2) from None

        return network(self.policy(checkpoint))

    def plot(self, path: str | os.PathLike[str] | None = None) -> matplotlib.figure.Figure:
        """A figure of the run, or of what there is of it: returns, entropy, speed and lag over frames. Written to `path` (.png, .svg, .pdf) if one is given.

        Raises `MissingPackage` without the package matplotlib.
        """
        from .plotting import figure

        found = figure(self)
        if path is not None:
            found.savefig(path, dpi=150)
        return found

    def export(
        self, *, onnx: str | os.PathLike[str] | None = None, safetensors: str | os.PathLike[str] | None = None
    ) -> None:
        """Writes the newest policy as an ONNX model, as safetensors or as both, each with a model card beside it."""
        files = {"--onnx": onnx, "--safetensors": safetensors}
        given = [part for flag, file in files.items() if file is not None for part in (flag, os.fspath(file))]
        done = subprocess.run(
            [str(programs.find("impala-export")), os.fspath(self.path), *given], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            line = (done.stderr.strip().splitlines() or [f"impala-export ended with code {done.returncode}"])[-1]
            raise ImpalaError(line.removeprefix("impala-export: "), done.returncode)


def load(path: str | os.PathLike[str]) -> Run:
    """The run in the folder `path`."""
    return Run(path)


def _complete_lines(path: Path) -> list[str]:
    """The lines of a file that may still be written to: what follows the last line break is left out."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return text.split("\n")[:-1]


def numbers(line: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a line of metrics by name, `learner.updates` for what is nested; NaN for null. Lists are left out."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{prefix}{name}.")
        elif value is None:
            yield prefix + name, np.nan
        elif isinstance(value, (int, float)):
            yield prefix + name, value
