#!/usr/bin/env python3
"""Learned frames/s of other systems on CartPole-v1, in turns with ours on the same machine.

    benches/peers/run.py [--rounds N] [--seconds S] [PEER ...]

Each peer is installed into an environment of its own below target/peers, once. Prints a Markdown table, and writes
target/peers/results/PEER.json with every round. README.md says what each peer does and why with these settings.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from install import CannotInstall, Peer, installed
from peers import PEERS

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "target/peers/results"
OURS = {"default": [], "throughput": ["--preset", "throughput"]}
# What a peer needs beyond its seconds: imports, compilers, first updates.
START_LIMIT_S = 240.0


class RunFailed(Exception):
    """A program that measures did not end as it should; the text is one line."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"peers: {message}\n")


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"


def run(command: list[str], limit_s: float) -> str:
    try:
        # Some peers leave files and links where they run.
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=limit_s, stdin=subprocess.DEVNULL, cwd=folder)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"not done after {limit_s:.0f} s") from None
    except OSError as error:
        raise RunFailed(str(error)) from None
    if done.returncode != 0:
        raise RunFailed(f"exit code {done.returncode}: {last_line(done.stderr or done.stdout)}")
    return done.stdout


def ours(programs: pathlib.Path, flags: list[str], seconds: float) -> float:
    """Frames per second between the first line of metrics with frames in it and the last but one."""
    with tempfile.TemporaryDirectory() as folder:
        run([str(programs / "impala-supervisor"), "--env", "CartPole-v1", *flags, "--run-dir", f"{folder}/run",
             "--total-frames", "1e12", "--time-limit", str(seconds + 0.5), "--log-interval", "0.1", "--quiet",
             "--report=false", "--tensorboard=false"], seconds + START_LIMIT_S)
        lines = [json.loads(line) for line in open(f"{folder}/run/metrics.jsonl", encoding="utf-8")]
    learned = [(line["frames"], line["wall_s"]) for line in lines if line["frames"] > 0][:-1]
    if len(learned) < 2:
        raise RunFailed("too few lines of metrics: give it more --seconds")
    return (learned[-1][0] - learned[0][0]) / (learned[-1][1] - learned[0][1])


def theirs(python: pathlib.Path, peer: Peer, seconds: float) -> dict[str, Any]:
    script = ROOT / "benches/peers" / peer.script
    out = run([str(python), "-W", "ignore", str(script), *peer.flags, "--seconds", str(seconds)], seconds + START_LIMIT_S)
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise RunFailed(f"no figures: {last_line(out)}") from None


def spread(numbers: list[float]) -> dict[str, float]:
    return {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers)}


def measure(name: str, args: argparse.Namespace, file: pathlib.Path) -> dict[str, Any]:
    """Rounds of ours with default flags, ours with the preset, the peer. Each is kept in `file`, also if it is the last."""
    peer = PEERS[name]
    result: dict[str, Any] = {"peer": name, "what": peer.what, "seconds": args.seconds, "rounds": []}
    try:
        python = installed(name, peer, ROOT / "target/peers")
        for _ in range(args.rounds):
            round_ = {of: ours(args.programs, flags, args.seconds) for of, flags in OURS.items()}
            round_["peer"] = theirs(python, peer, args.seconds)
            result["rounds"].append(round_)
            sum_up(result)
            file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except (CannotInstall, RunFailed) as error:
        result["why_not"] = str(error)
        file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def sum_up(result: dict[str, Any]) -> None:
    rounds = result["rounds"]
    frames = [round_["peer"]["frames_per_s"] for round_ in rounds]
    result["frames_per_s"] = spread(frames)
    for of in OURS:
        result[f"ours_{of}_frames_per_s"] = spread([round_[of] for round_ in rounds])
        result[f"ours_{of}_over_peer"] = spread([round_[of] / x for round_, x in zip(rounds, frames)])


def short(x: float) -> str:
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if x >= limit:
            return f"{x / limit:.3g}{unit}"
    return f"{x:.3g}"


def cell(s: dict[str, float]) -> str:
    return f"{short(s['median'])} ({short(s['min'])} .. {short(s['max'])})"


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| peer | frames/s | ours, default flags | ratio | ours, `--preset throughput` | ratio | episode length | settings | versions |",
             "|---|---|---|---|---|---|---|---|---|"]
    for r in results:
        if "frames_per_s" not in r:
            lines.append(f"| {r['what']} | not measured: {r['why_not'].replace('|', '/')} | | | | | | | |")
            continue
        last = r["rounds"][-1]["peer"]
        length = last["episode_length"]
        pairs = lambda of: ", ".join(f"{key} {value}" for key, value in last[of].items())
        columns = [r["what"], cell(r["frames_per_s"])]
        for of in OURS:
            columns += [cell(r[f"ours_{of}_frames_per_s"]), cell(r[f"ours_{of}_over_peer"])]
        columns += ["-" if length is None else f"{length:.0f}", pairs("settings"), pairs("versions")]
        lines.append("| " + " | ".join(columns) + " |")
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement (%(default)s)")
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "target/release", help="folder of impala-supervisor")
    parser.add_argument("--table", action="store_true", help="measure nothing: the table of the results that are there")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)}; all if none is given")
    args = parser.parse_args()
    args.peers = args.peers or list(PEERS)
    for name in args.peers:
        if name not in PEERS:
            parser.error(f"there is no peer {name!r}; there are {', '.join(PEERS)}")
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1")
    if not 1.0 <= args.seconds <= 3600.0:
        parser.error(f"--seconds {args.seconds}: between 1 and 3600")
    args.programs = args.programs.resolve()
    if not args.table and not (args.programs / "impala-supervisor").is_file():
        parser.error(f"{args.programs} has no impala-supervisor: build it with cargo build --release, or name another --programs")
    return args


def main() -> None:
    args = parsed()
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = []
    for name in args.peers:
        file = RESULTS / f"{name}.json"
        if args.table:
            if file.is_file():
                results.append(json.loads(file.read_text(encoding="utf-8")))
            continue
        print(f"peers: {name}", file=sys.stderr, flush=True)
        results.append(measure(name, args, file))
    print(json.dumps(results, indent=1) if args.json else table(results))


if __name__ == "__main__":
    main()
