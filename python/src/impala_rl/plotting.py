"""A run as a figure of matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import MissingPackage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .runs import Run

PANELS = (
    ("learner.entropy", "entropy of the policy, nats"),
    ("frames_per_s", "frames per second"),
    ("policy_lag_mean", "policy lag, versions"),
)
"""Below the returns: a column of the metrics, and what it is called."""


def figure(run: Run) -> Figure:
    """Returns over frames, each episode and the mean of the last hundred; entropy, speed and lag over the same frames."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingPackage("plot needs the package matplotlib: pip install matplotlib", 2) from None

    metrics, episodes = run.metrics(), run.episodes()
    shown = Figure(figsize=(9, 6), layout="constrained")
    above, below = shown.subfigures(2, 1, height_ratios=(3, 2))
    axes = above.subplots()
    axes.plot(episodes["frames"], episodes["return"], ".", color="0.8", markersize=2, label="episodes")
    _line(axes, metrics, "return_mean", "return")
    axes.set_title(f"{run.path.name}: {_how_it_ended(run)}", fontsize=10)
    for axes, (column, name) in zip(np.atleast_1d(below.subplots(1, len(PANELS))), PANELS, strict=True):
        _line(axes, metrics, column, name)
    return shown


def _line(axes: Axes, metrics: dict[str, np.ndarray], column: str, name: str) -> None:
    nothing = np.zeros(0)
    axes.plot(metrics.get("frames", nothing), metrics.get(column, metrics.get("frames", nothing) * np.nan), color="C0", label="mean")
    axes.set_xlabel("frames")
    axes.set_ylabel(name, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _how_it_ended(run: Run) -> str:
    summary = run.summary
    if summary is None:
        return "not ended"
    mean = summary["return_mean_100"]
    return f"{summary['status']}, return {'-' if mean is None else format(mean, '.1f')}, {summary['frames']:,} frames"
