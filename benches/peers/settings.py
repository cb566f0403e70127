"""Settings of a peer from its command line: `--name value` for each default."""

import argparse


def parse(description: str, defaults: dict[str, object]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure (%(default)s)")
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help="(%(default)s)")
    return parser.parse_args()


def used(args: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(args).items() if name != "seconds"}
