"""Tries an environment as a worker would: `python -m impala_env.check ID`.

Prints its spaces, how they lie in memory, how fast it steps, and what is wrong with it. The exit code is 0
if it can be used, 1 if it failed at work, 2 if it cannot be used.
"""

import argparse
import contextlib
import json
import sys
import time
import warnings

from .errors import EnvFault, Unusable, described, put

FLAGS = {
    "env": "", "options": "--env-arg", "wrapper": "--wrapper", "keys": "--observation-keys", "envs": "--envs",
    "seed": "--seed", "path": "PYTHONPATH", "python": "its path",
}
"""How the settings that remedies name are given to this program."""


def main(argv=None):
    parser = argparse.ArgumentParser("python -m impala_env.check", description=__doc__.splitlines()[0])
    parser.add_argument("env", metavar="ID", help="CartPole-v1, module:ID for a package that registers on import, or envpool:ID")
    parser.add_argument("--env-arg", metavar="KEY=VALUE", action="append", default=[], help="option of the environment")
    add_environment(parser)
    parser.add_argument("--envs", metavar="E", type=int, default=4, help="environments that step together [%(default)s]")
    parser.add_argument("--steps", metavar="N", type=int, default=1000, help="vector steps [%(default)s]")
    parser.add_argument("--seed", metavar="S", type=int, default=1, help="[%(default)s]")
    parser.add_argument("--bare", action="store_true", help="measure the environment alone, without what the worker adds")
    parser.add_argument("--json", action="store_true", help="print one object")
    args = parser.parse_args(argv)
    sys.path.insert(0, "")
    try:
        # What the environment prints is no part of the report.
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("always")
            report = run(args)
    except Exception as error:
        return told(args.env, error, FLAGS)
    from .making import plain

    lines = dict.fromkeys(plain(warning.message) for warning in caught)
    report["warnings"] = [*report["warnings"], *lines]
    print(json.dumps(report) if args.json else text(report))
    return 0


def add_environment(parser):
    """Adds the arguments that say what is made of an environment."""
    parser.add_argument("--wrapper", metavar="MODULE:FUNCTION", help="applied to each environment")
    parser.add_argument("--observation-keys", metavar="KEY,KEY", help="parts of a Dict that are seen, in this order")


def asked_for(args):
    """Source, name, options and keys of the environment that the arguments name."""
    from .making import SOURCES

    if bad := next((pair for pair in args.env_arg if "=" not in pair), None):
        raise Unusable(f"--env-arg {bad}: write it as KEY=VALUE")
    options = [tuple(pair.split("=", 1)) for pair in args.env_arg]
    keys = args.observation_keys.split(",") if args.observation_keys else None
    source, _, name = args.env.partition(":")
    if source not in SOURCES:
        source, name = "gym", args.env
    return source, name, options, keys


def told(env, error, flags):
    """Says on standard error why `env` is not used; gives the exit code."""
    if isinstance(error, (Unusable, EnvFault)):
        print(f"{env}: {error}{put(error.remedy, flags)}", file=sys.stderr)
        return 2 if isinstance(error, Unusable) else 1
    print(f"{env}: it cannot be made\n{described(error)}", file=sys.stderr)
    return 1


def run(args):
    from .making import maker_of

    source, name, options, keys = asked_for(args)
    if args.envs < 1 or args.steps < 1:
        raise Unusable("--envs and --steps are at least 1")
    maker = maker_of(source, name, options, args.wrapper, check=True, keys=keys)
    from .batch import OwnVector, make
    from .trying import random_words, stepped

    started = time.perf_counter()
    batch = make(maker, args.envs, args.seed)
    starting = time.perf_counter() - started
    measured = bare(batch, random_words(batch, 256), args.steps) if args.bare else stepped(batch, args.steps)
    observation, action = batch.observation, batch.action
    report = {
        "env": maker.id,
        "vector": isinstance(batch, OwnVector),
        "envs": args.envs,
        "observation_space": str(observation.space),
        "action_space": str(action.space),
        **batch.describe(),
        "layout": [
            {"path": "observation" + part.path, "from": part.start, "length": part.length, "as": part.kind}
            for part in observation.parts
        ],
        "starting_s": starting,
        **measured,
    }
    report["warnings"] = [*maker.notes, *measured.pop("notes", []), *advice(report)]
    report.pop("notes", None)
    batch.close()
    return report


def bare(batch, words, steps):
    """The loop that a program without a worker would have."""
    actions = [batch.action.read(batch.action.view(row)) for row in words]
    env = getattr(batch, "vector", None)
    if env is None:
        from gymnasium.vector import SyncVectorEnv

        env = SyncVectorEnv([lambda member=member: member for member in batch.members])
    env.reset()
    started = time.perf_counter()
    for step in range(steps):
        env.step(actions[step & 255])
    spent = time.perf_counter() - started
    return {"steps_per_s": steps * batch.envs / spent, "us_per_vector_step": spent / steps * 1e6}


def advice(report):
    found = []
    if report.get("episodes") == 0:
        found.append("no episode ended; a longer --steps would show whether any does")
    low, high = report.get("reward_range", (0, 1))
    if low == high == 0:
        found.append("every reward was 0")
    if max(abs(low), abs(high)) > 100:
        found.append("large rewards: scale them so that returns are about 1 to 100")
    if None in report["action"].get("low", []) + report["action"].get("high", []):
        found.append("actions without bounds")
    return found


def text(report):
    kind = "of its own vector implementation" if report["vector"] else "one after the other"
    lines = [
        f"{report['env']}: {report['envs']} environments, {kind}",
        f"  observation space  {report['observation_space']}",
        f"  action space       {report['action_space']}",
        f"  frame              {report['observation']['dtype']} {report['observation']['shape']}",
    ]
    for part in report["layout"]:
        lines.append(f"    {part['from']:>6} .. {part['from'] + part['length']:<6} {part['path']}, {part['as']}")
    lines += [
        f"  action             {report['action']}" + (", with masks" if report["masks"] else ""),
        f"  start              {report['starting_s']:.2f} s",
        f"  speed              {report['steps_per_s']:,.0f} steps/s, {report['us_per_vector_step']:.0f} us a vector step",
    ]
    if "episodes" in report:
        low, high = report["reward_range"]
        lines.append(f"  seen               {report['episodes']} ends of episodes, rewards {low:g} to {high:g}")
    lines += [f"  warning            {line}" for line in report["warnings"]]
    return "\n".join(lines + ["usable"])


if __name__ == "__main__":
    sys.exit(main())
