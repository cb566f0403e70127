"""Trains agents with IMPALA on one Linux machine, and uses them.

    import impala_rl

    run = impala_rl.train("CartPole-v1", actors=4, total_frames=1e6, stop_at_return=475)
    policy = run.policy()
    action, _ = policy.act([0.0, 0.1, 0.02, -0.3], deterministic=True)
    print(impala_rl.evaluate(policy, episodes=100))

`train` blocks and shows a live line, `start` returns a handle; both run `impala-supervisor` in processes of its own, so neither
needs an `if __name__ == "__main__"`. `load` opens the folder of any run, whatever started it.
"""

from __future__ import annotations

from ._native import __version__, exit_meaning
from .errors import EnvError, ImpalaError, MissingPackage, PolicyError, RunError, SettingError, TrainError
from .evaluation import Evaluation, evaluate
from .policy import Policy
from .runs import Run, load
from .training import Progress, Training, start, train

__all__ = [
    "EnvError",
    "Evaluation",
    "ImpalaError",
    "MissingPackage",
    "Policy",
    "PolicyError",
    "Progress",
    "Run",
    "RunError",
    "SettingError",
    "TrainError",
    "Training",
    "__version__",
    "evaluate",
    "exit_meaning",
    "load",
    "start",
    "train",
]
