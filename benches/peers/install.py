"""Environments of peers: one folder each, made once with pip, with pinned packages.

PyTorch is 5 GB with what it links to, also for those who only want the CPU; so it lies in an environment of its own, and
peers that use it find it there by a .pth file.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

TORCH = ["torch==2.13.0", "numpy==1.26.4", "setuptools==84.2.1", "wheel==0.48.0", "Cython==3.3.1"]


class CannotInstall(Exception):
    """A peer that this machine cannot have; the text is one line."""


@dataclass(frozen=True)
class Peer:
    what: str
    script: str
    flags: list[str]
    packages: list[str]
    # A name of the environment where several peers share one.
    environment: str = ""
    # What pip alone cannot install.
    also: Callable[[pathlib.Path, pathlib.Path], None] | None = None


def pip(python: pathlib.Path, arguments: list[str], **environment: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        errors = [line.strip() for line in done.stderr.splitlines() if line.strip().lower().startswith("error")]
        raise CannotInstall(f"pip {arguments[0]} failed: {(errors or ['it gave no reason'])[-1][:200]}")


def make(folder: pathlib.Path, packages: list[str], torch: pathlib.Path | None) -> pathlib.Path:
    """The Python of an environment in `folder` with `packages`, and with PyTorch of the environment `torch`."""
    python, stamp = folder / "bin/python", folder / "packages"
    if stamp.is_file() and stamp.read_text(encoding="utf-8").split("\n")[:-1] == packages:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotInstall(f"{sys.executable} makes no virtual environment; a Debian needs python3-venv")
    if torch is not None:
        (site(folder) / "torch.pth").write_text(f"{site(torch)}\n", encoding="utf-8")
    pip(python, ["install", "--quiet", "--no-cache-dir", *packages])
    return python


def site(folder: pathlib.Path) -> pathlib.Path:
    return next((folder / "lib").glob("python3*")) / "site-packages"


def installed(name: str, peer: Peer, base: pathlib.Path) -> pathlib.Path:
    """The Python that runs the peer's script."""
    base.mkdir(parents=True, exist_ok=True)
    torch = base / "torch"
    python = make(torch, TORCH, None)
    (torch / "packages").write_text("\n".join(TORCH) + "\n", encoding="utf-8")
    if not peer.packages:
        return python
    folder = base / (peer.environment or name)
    python = make(folder, peer.packages, torch)
    if not (folder / "packages").is_file():
        if peer.also is not None:
            peer.also(python, folder)
        (folder / "packages").write_text("\n".join(peer.packages) + "\n", encoding="utf-8")
    return python


def pufferlib(python: pathlib.Path, folder: pathlib.Path) -> None:
    """PufferLib from its source distribution, with the one environment that is measured.

    Its setup.py downloads Box2D and a raylib for browsers, which CartPole does not use, and compiles all of its environments.
    A folder that is there is not downloaded. With NO_OCEAN=1 nothing is, but then it fails: that only serves to unpack it.
    """
    requirement = "pufferlib==3.0.0"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            pip(python, ["download", "--no-clean", "--no-deps", "--no-build-isolation", "--no-binary", ":all:",
                         "--dest", scratch, requirement], TMPDIR=scratch, NO_OCEAN="1")
        except CannotInstall as error:
            unpacked = error
        else:
            unpacked = CannotInstall("pip left no source of PufferLib")
        sources = [path.parent for path in pathlib.Path(scratch).glob("pip-*/pufferlib_*/setup.py")]
        if not sources:
            raise unpacked
        source = sources[0]
        for binding in source.glob("pufferlib/ocean/**/binding.c"):
            if binding.parent.name != "cartpole":
                binding.unlink()
        for downloaded in ("raylib-5.5_webassembly", "box2d-web", "box2d-linux-amd64"):
            (source / downloaded).mkdir(exist_ok=True)
        pip(python, ["install", "--quiet", "--no-deps", "--no-build-isolation", str(source)])
