"""What can go wrong, as exceptions of one line."""

from __future__ import annotations


class ImpalaError(Exception):
    """What is wrong, on one line, as the programs say it.

    `exit_code` is the code that the program ended with, or would have ended with; `impala_rl.exit_meaning` says what each means.
    """

    def __init__(self, line: str, exit_code: int | None = None) -> None:
        super().__init__(line)
        self.exit_code = exit_code


class TrainError(ImpalaError):
    """Training did not come about, or failed."""


class SettingError(TrainError, ValueError):
    """A setting that there is not, or a value that it cannot have."""


class EnvError(TrainError):
    """An environment that cannot be made, sent to the workers, or played by this policy."""


class RunError(ImpalaError):
    """A run folder or a checkpoint that cannot be used."""


class PolicyError(ImpalaError, ValueError):
    """An observation, a mask or a state that is not what the policy takes."""


class MissingPackage(ImpalaError, ImportError):
    """A package that is optional, and needed here."""
