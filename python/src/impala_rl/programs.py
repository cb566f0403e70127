"""The programs of the same installation."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from .errors import ImpalaError


def find(name: str) -> Path:
    """Where the program `name` lies: with the scripts of this installation, else on the search path."""
    folders = [Path(sysconfig.get_path("scripts")), Path(sys.executable).parent]
    folders += [Path(sysconfig.get_path("scripts", scheme)) for scheme in ("posix_user",)]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    found = shutil.which(name)
    if found is None:
        raise ImpalaError(f"there is no program {name} in {folders[0]} or on the search path; install impala-rl anew")
    return Path(found)
