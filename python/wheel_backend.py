"""Builds the wheel: the programs with cargo, then the extension module and the packages with maturin.

`pip install .` calls this as its build backend (PEP 517). As a program, `python python/wheel_backend.py --glibc 2.28` makes a wheel
for other machines: zig links it against that version of glibc.

maturin puts what lies in `target/wheel-data/scripts` on the PATH of whoever installs the wheel.

IMPALA_WHEEL_PROFILE: the profile that cargo builds with, `release` if it is not set.
"""

import argparse
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "target" / "wheel-data"
"""Also in pyproject.toml."""

PROGRAMS = [f"impala-{name}" for name in ("supervisor", "report", "top", "play", "sweep", "export", "bench")]
"""None of them is built with libtorch."""


def profile():
    return os.environ.get("IMPALA_WHEEL_PROFILE", "release")


def build_programs(cargo, target=None):
    """Builds the programs and lays them out for maturin."""
    # Of the whole workspace: a choice of packages has other features of their dependencies, and builds them anew.
    command = [*cargo, "--profile", profile(), "--workspace", *(f"--bin={name}" for name in PROGRAMS)]
    if target:
        command += ["--target", target]
    subprocess.run(command, cwd=ROOT, check=True)
    folder = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
    if target:
        folder /= target.partition(".")[0]
    folder /= {"dev": "debug"}.get(profile(), profile())
    shutil.rmtree(DATA, ignore_errors=True)
    (DATA / "scripts").mkdir(parents=True)
    for name in PROGRAMS:
        place = DATA / "scripts" / name
        shutil.copy2(folder / name, place)
        if strip := shutil.which("strip"):
            # With it go the names in a backtrace; the place of a panic stays.
            subprocess.run([strip, "--strip-all", str(place)], check=True)


def _maturin():
    import maturin

    return maturin


def _with_profile():
    arguments = shlex.split(os.environ.get("MATURIN_PEP517_ARGS", ""))
    if not any(argument.startswith("--profile") for argument in arguments):
        arguments += ["--profile", profile()]
    os.environ["MATURIN_PEP517_ARGS"] = shlex.join(arguments)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    build_programs(["cargo", "build"])
    _with_profile()
    return _maturin().build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    build_programs(["cargo", "build"])
    _with_profile()
    return _maturin().build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    raise SystemExit("there is no source distribution: its workspace is the repository; build a wheel there")


def get_requires_for_build_wheel(config_settings=None):
    return []


get_requires_for_build_editable = get_requires_for_build_wheel


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    (DATA / "scripts").mkdir(parents=True, exist_ok=True)
    return _maturin().prepare_metadata_for_build_wheel(metadata_directory, config_settings)


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def main():
    parser = argparse.ArgumentParser(description="Makes a wheel for machines with an older glibc than this one.")
    parser.add_argument("--glibc", metavar="VERSION", default="2.28", help="the oldest that it runs on [%(default)s]")
    parser.add_argument("--out", metavar="DIR", default="target/wheels", help="where the wheel is put [%(default)s]")
    args = parser.parse_args()
    machine = f"{platform.machine()}-unknown-linux-gnu"
    build_programs(["cargo", "zigbuild"], f"{machine}.{args.glibc}")
    command = ["maturin", "build", "--zig", "--target", machine, "--profile", profile()]
    command += ["--compatibility", f"manylinux_{args.glibc.replace('.', '_')}", "--out", args.out]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
