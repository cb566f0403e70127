"""Score against controlled lag: a table and a plot of a sweep over correction, lag and replay-fraction.

    python3 benches/ablations/plot.py sweeps/ablation-cartpole docs/ablations/cartpole.svg

prints the table as Markdown and writes the plot. Needs nothing but Python.
"""

import json
import pathlib
import sys

COLORS = {"vtrace": "#0b6e4f", "one-step": "#1f78b4", "epsilon": "#e08214", "none": "#b2182b"}
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 380, 240, 48, 40, 24


def read(folder):
    """Scores by (correction, replay fraction), then by lag: interquartile mean, and its interval."""
    trials = json.loads((pathlib.Path(folder) / "sweep.json").read_text())["trials"]
    scores = {}
    for trial in trials:
        varied, score = trial["varied"], trial["score"]
        lines = scores.setdefault((varied["correction"], float(varied["replay-fraction"])), {})
        lines[int(varied["lag"])] = (score["iqm"], score["low"], score["high"])
    return scores


def table(scores):
    lags = sorted(next(iter(scores.values())))
    yield "| correction | replay | " + " | ".join(f"lag {lag}" for lag in lags) + " |"
    yield "|---" * (len(lags) + 2) + "|"
    for (correction, replay), line in sorted(scores.items(), key=order):
        cells = [f"{mean:.4g} [{low:.4g}, {high:.4g}]" for mean, low, high in map(line.get, lags)]
        yield f"| {correction} | {replay:g} | " + " | ".join(cells) + " |"


def order(item):
    (correction, replay), _ = item
    return replay, list(COLORS).index(correction)


def panel(scores, replay, left, low, high):
    """One plot: a line for each correction, with its intervals. Lags stand at equal distances."""
    lags = sorted(next(iter(scores.values())))

    def x(index):
        return left + LEFT + index * (WIDTH - LEFT - 20) / (len(lags) - 1)

    def y(score):
        return HEIGHT - BOTTOM - (score - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    yield f'<text x="{left + LEFT}" y="14">replay fraction {replay:g}</text>'
    yield f'<path d="M{x(0)} {TOP}V{y(low)}H{x(len(lags) - 1)}" fill="none" stroke="#999"/>'
    for score in (low, high):
        yield f'<text x="{x(0) - 6}" y="{y(score) + 4}" text-anchor="end">{score:g}</text>'
    for index, lag in enumerate(lags):
        yield f'<text x="{x(index)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{lag}</text>'
    yield f'<text x="{x((len(lags) - 1) / 2)}" y="{HEIGHT - 6}" text-anchor="middle">lag in updates</text>'
    for correction, color in COLORS.items():
        line = scores[correction, replay]
        points = " ".join(f"{x(index):.1f},{y(line[lag][0]):.1f}" for index, lag in enumerate(lags))
        yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>'
        for index, lag in enumerate(lags):
            _, bottom, top = line[lag]
            yield (
                f'<path d="M{x(index):.1f} {y(bottom):.1f}V{y(top):.1f}" stroke="{color}" '
                'stroke-width="6" stroke-opacity="0.25"/>'
            )


def plot(scores):
    every = [bound for line in scores.values() for _, *bounds in line.values() for bound in bounds]
    low, high = min(0.0, *every), max(every)
    replays = sorted({replay for _, replay in scores})
    width = WIDTH * len(replays) + 90
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    )
    for index, replay in enumerate(replays):
        yield from panel(scores, replay, index * WIDTH, low, high)
    for index, (correction, color) in enumerate(COLORS.items()):
        at = TOP + 16 * index
        yield f'<rect x="{width - 84}" y="{at}" width="12" height="4" fill="{color}"/>'
        yield f'<text x="{width - 66}" y="{at + 6}">{correction}</text>'
    yield "</svg>"


def main():
    scores = read(sys.argv[1])
    print("\n".join(table(scores)))
    pathlib.Path(sys.argv[2]).write_text("\n".join(plot(scores)) + "\n")


main()
