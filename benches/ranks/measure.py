"""One and two ranks of MPI on this machine, in turns: frames/s, and the time of a sum of gradients.

    cargo build --release --features mpi --bin impala-supervisor
    python3 benches/ranks/measure.py                     # needs mpirun and mpicc
    python3 benches/ranks/measure.py --rate 1gbit        # as root: each rank in a network of its own

Each rank has one core: one rank alone has the first, two ranks have one each. The ratio is that of the frames/s of two ranks to
twice those of one, in the same round. With --rate the two ranks are in network namespaces whose link carries no more than that.
"""

import argparse
import json
import math
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CASES = {
    "CartPole, throughput preset": "--env CartPole-v1 --preset throughput --total-frames 1e9",
    "Synthetic 84x84x4, nature": "--env Synthetic-v0 --env-arg shape=84x84 --env-arg stack=4 --torso nature --total-frames 1e9",
}
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe"]
BRIDGE, NAMES, NET = "impala-br", ("impala-a", "impala-b"), "10.213.7"


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{shlex.join(map(str, command))}: code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def rate_of(launcher, program, flags, seconds):
    """Frames/s of a run, the size of its network and its last metrics."""
    with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent) / "run"
        run([*launcher, program, "--run-dir", folder, "--actors", "1", "--learner-threads", "1", "--report=false", "--tensorboard=false",
             "--time-limit", str(seconds), *shlex.split(flags)])
        summary = json.loads((folder / "summary.json").read_text())
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return summary["frames_per_s"], parameters_of(folder), json.loads(lines[-1])["learner"]


def parameters_of(folder):
    """How many numbers the weights of a run's checkpoint are."""
    weights = next((folder / "checkpoints").glob("*/weights.safetensors")).read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


class Networks:
    """Two network namespaces on one bridge, each with a link of a limited rate."""

    def __init__(self, rate):
        self.rate = rate

    def __enter__(self):
        self.__exit__()
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
        run(["ip", "addr", "add", f"{NET}.254/24", "dev", BRIDGE])
        run(["ip", "link", "set", BRIDGE, "up"])
        for number, name in enumerate(NAMES, 1):
            run(["ip", "netns", "add", name])
            run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name])
            run(["ip", "link", "set", name, "master", BRIDGE, "up"])
            inside = ["ip", "-n", name]
            run([*inside, "addr", "add", f"{NET}.{number}/24", "dev", "eth0"])
            run([*inside, "link", "set", "eth0", "up"])
            run([*inside, "link", "set", "lo", "up"])
            shape = ["root", "tbf", "rate", self.rate, "burst", "64kb", "latency", "50ms"]
            run(["ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "eth0", *shape])
        return self

    def __exit__(self, *_):
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", BRIDGE], stderr=subprocess.DEVNULL)

    def launcher(self):
        """mpirun whose remote shell enters a namespace; the first rank's core is the first of the machine."""
        only = ["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", f"{NET}.0/24", "--mca", "oob_tcp_if_include", f"{NET}.0/24"]
        return [*MPIRUN, "--mca", "plm_rsh_agent", str(HERE / "enter"), *only, "--host", ",".join(NAMES), "-n", "2", "--bind-to", "none",
                str(HERE / "on-core")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "target/release/impala-supervisor", type=pathlib.Path)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--seconds", default=6.0, type=float, help="of each run")
    parser.add_argument("--rate", help="of the link between the ranks, as tc takes it: 1gbit")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    args = parser.parse_args()
    if not args.program.exists():
        sys.exit(f"{args.program} is missing: cargo build --release --features mpi --bin impala-supervisor")
    os.environ["IMPALA_BENCH_CORES"] = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    if args.rate:
        with Networks(args.rate) as networks:
            measure(args, networks.launcher())
    else:
        measure(args, [*MPIRUN, "-n", "2", "--bind-to", "core"])


def measure(args, two):
    probe = ROOT / "target/allreduce"
    run(["mpicc", "-O2", HERE / "allreduce.c", "-o", probe])
    first = os.environ["IMPALA_BENCH_CORES"].split(",")[0]
    for name, flags in CASES.items():
        if args.only not in name:
            continue
        ratios, alone, both, sums, probes = [], [], [], [], []
        for _ in range(args.rounds):
            one, _, _ = rate_of(["taskset", "-c", first], args.program, f"--distributed off {flags}", args.seconds)
            pair, parameters, last = rate_of(two, args.program, flags, args.seconds)
            probe_ms = float(run([*two, probe, str(parameters)]))
            sum_ms = last["exchange_ns"] / last["updates"] / 1e6
            alone.append(one), both.append(pair), ratios.append(pair / (2 * one)), sums.append(sum_ms), probes.append(probe_ms)
        of = statistics.median
        print(f"{name} ({parameters} parameters): one rank {of(alone):,.0f} frames/s, two {of(both):,.0f}, "
              f"over twice one {of(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); "
              f"a sum takes {of(sums):.3f} ms in the run, MPI_Allreduce alone {of(probes):.3f} ms", flush=True)


if __name__ == "__main__":
    main()
