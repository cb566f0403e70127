"""Runs of `impala-supervisor`, started from Python."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from . import environments, programs, progress, track
from .errors import EnvError, SettingError, TrainError
from .runs import Run, load
from .settings import RESERVED, flags

POLL_S = 0.1
"""Between two looks at a run."""

SUPERVISOR = "impala-supervisor"

_EXCEPTIONS = {2: SettingError, 7: EnvError, 12: EnvError, 15: EnvError}
"""By exit code; others are a plain `TrainError`."""

_TAIL_BYTES = 1 << 16

TRACKER_ENDS_S = 60
"""How long a tracker may take after the end of a run."""


class Progress(TypedDict):
    """How far a run is: what its last line of metrics says."""

    frames: int
    frames_per_s: float
    return_mean: float | None
    wall_s: float


class Training:
    """A run that goes on in processes of its own. `start` makes it.

    The run ends with this program: when the interpreter ends, it is stopped in order and saves.
    """

    def __init__(
        self, command: list[str], run_dir: Path, total_frames: int | None, tracker: str | None = None, sent: str | None = None
    ) -> None:
        self._sent = sent
        self.run_dir = run_dir
        self.total_frames = total_frames
        self._output = tempfile.TemporaryFile()
        self._said: str | None = None
        self._lock = threading.Lock()
        # A session of its own: Ctrl-C reaches this program alone, which passes it on once.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, start_new_session=True
        )
        _RUNNING.add(self)
        self._tracker = None if tracker is None else _Tracker(tracker, run_dir)

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended with code {self._process.returncode}"
        return f"<impala_rl.Training {self.run_dir} {state}>"

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._process.poll() is None

    def progress(self) -> Progress:
        """How far it is; zeros before the first line of metrics."""
        line = self._last_line()
        return {
            "frames": int(line.get("frames") or 0),
            "frames_per_s": float(line.get("frames_per_s") or 0.0),
            "return_mean": line.get("return_mean"),
            "wall_s": float(line.get("wall_s") or 0.0),
        }

    def metrics(self) -> dict[str, Any]:
        """The last line of metrics, all of it (docs/metrics.md); empty before the first."""
        return self._last_line()

    def output(self) -> str:
        """What the programs have printed so far."""
        if self._said is None:
            size = os.fstat(self._output.fileno()).st_size
            return os.pread(self._output.fileno(), size, 0).decode(errors="replace")
        return self._said

    def stop(self) -> None:
        """Asks the run to end in order and to save; `wait` waits for it. Asked again, it does not wait for its actors."""
        with self._lock:
            if self.running:
                # Not SIGINT: a program in the background inherits that it is ignored.
                self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float | None = None) -> Run:
        """Waits for the end of the run and gives what it came to.

        Raises `TrainError` or one of its like if the run failed, with the line that the program ended with, and
        `TimeoutError` if it goes on for longer.
        """
        if self._tracker:
            self._tracker.look()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the run in {self.run_dir} goes on after {timeout_s} s") from None
        self._ended()
        if self._tracker:
            self._tracker.end(came_about=(self.run_dir / "config.toml").exists())
        if code != 0:
            self._leave_no_folder()
            raise self._failure(code)
        run = load(self.run_dir)
        if failures := (run.summary or {}).get("env_errors"):
            warnings.warn(f"the environments failed {failures} times and went on; the logs of their workers in {self.run_dir} say why", stacklevel=2)
        return run

    def _ended(self) -> None:
        """Lets go of what a run needs that goes on."""
        with self._lock:
            _RUNNING.discard(self)
            if self._said is None:
                self._said = self.output()
                self._output.close()

    def _failure(self, code: int) -> TrainError:
        line = last_word(self.output()) or f"{SUPERVISOR} ended with code {code}"
        if code < 0:
            line = f"{SUPERVISOR} was ended by signal {-code}" + (f" ({line})" if line else "")
        if self._sent:
            line = environments.in_words(line, self._sent)
        # An environment that cannot be made is bad usage to the programs, like a flag.
        of_env = code == 2 and line.startswith("environment ")
        return EnvError(line, code) if of_env else _EXCEPTIONS.get(code, TrainError)(line, code)

    def _leave_no_folder(self) -> None:
        """A run that did not come about leaves no folder, if it was made for it."""
        if (self.run_dir / "config.toml").exists():
            return
        (self.run_dir / environments.SENT_FILE).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.run_dir.rmdir()

    def _last_line(self) -> dict[str, Any]:
        try:
            with open(self.run_dir / "metrics.jsonl", "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return {}
        # What follows the last line break is empty, or a line that is being written.
        for line in reversed(lines[:-1]):
            try:
                return json.loads(line)
            except ValueError:
                continue
        return {}


class _Tracker:
    """`impala-track` beside a run. Whatever becomes of it is a warning."""

    def __init__(self, name: str, run_dir: Path) -> None:
        self.name = name
        self._said = tempfile.TemporaryFile()
        command = [sys.executable, "-c", "from impala_rl.track import main; main()", str(run_dir), f"--tracker={name}"]
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said, start_new_session=True
        )

    def look(self) -> None:
        """Warns if it has died."""
        if self._process and self._process.poll():
            self._failed(f"ended with code {self._process.returncode}")

    def end(self, *, came_about: bool) -> None:
        """Waits until it has sent what is left; of a run that did not come about there is nothing."""
        with self._said:
            self._wait(came_about)

    def _wait(self, came_about: bool) -> None:
        if not self._process:
            return
        if not came_about:
            self._process.kill()
            self._process.wait()
            self._process = None
            return
        try:
            self._process.wait(TRACKER_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self._failed(f"was not done {TRACKER_ENDS_S} s after the run")
        else:
            self.look()
        self._process = None

    def _failed(self, how: str) -> None:
        self._process = None
        said = os.pread(self._said.fileno(), _TAIL_BYTES, 0).decode(errors="replace").strip().splitlines()
        warnings.warn(f"the tracker {self.name} {how}; the run goes on without it: {(said or ['it said nothing'])[-1]}", stacklevel=4)


_RUNNING: set[Training] = set()
"""Held here, so that a run whose handle is dropped is stopped all the same."""


@atexit.register
def _stop_all() -> None:
    running = [training for training in _RUNNING if training.running]
    for training in running:
        training.stop()
    for training in running:
        try:
            training._process.wait(60)
        except subprocess.TimeoutExpired:
            training._process.kill()


def last_word(output: str) -> str:
    """The line of an output that says what was wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(f"{SUPERVISOR}: ")]
    found = (said or lines or [""])[-1]
    return found.removeprefix(f"{SUPERVISOR}: ")


def start(
    env: str | Sequence[str] | Callable[..., Any] | None = None,
    *,
    actors: int | None = 4,
    total_frames: float | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    tracker: str | None = None,
    **settings: Any,
) -> Training:
    """Starts a run and returns at once.

    env: the name of an environment ("CartPole-v1", "LunarLander-v3", "gym:package:Maze-v0", "envpool:Pong-v5"), a list of names for one agent
        of several tasks, or a class or function that makes one of Gymnasium; it is called in each worker with the options in `env_arg`, if there are any.
    actors: actor processes; about as many as cores.
    total_frames: agent steps to learn from.
    run_dir: the folder of the run; made below `runs/` if none is given.
    resume: the folder of a run to continue, in place of an environment.
    tracker: "wandb" or "mlflow": has a process beside the run send its metrics there (`impala_rl.track`). What goes wrong with it is a warning.
    settings: any setting of `impala-supervisor` (docs/configuration.md), with underscores: `learning_rate=3e-4`, `hidden=[64, 64]`,
        `env_arg={"size": 9}`, `stop_at_return=475`. None leaves it at its default.

    Raises `SettingError` for a setting that there is not, and `EnvError` for an environment that cannot be sent. What the
    programs find wrong comes with `Training.wait`.
    """
    given = {"actors": actors, "total_frames": total_frames, **settings}
    for name, instead in RESERVED.items():
        if name in settings:
            raise SettingError(f"{name} cannot be set here; {instead}", 2)
    if (env is None) == (resume is None):
        raise SettingError("give either an environment or a run to resume", 2)
    if resume is not None:
        if run_dir is not None:
            raise SettingError("resume continues in its own folder; leave run_dir out", 2)
        if actors == 4:
            # As it was.
            given["actors"] = None
        folder = Path(resume)
        where = [f"--resume={folder}"]
    else:
        environments.check(env)
        where = []
    if tracker is not None:
        track.check(tracker)
    own = flags({"quiet": True, **given})
    if env is not None:
        folder = _folder(run_dir, environments.name_of(env))
        where = _environment(env, folder, settings)
    command = [str(programs.find(SUPERVISOR)), *where, *own]
    total = None if total_frames is None else int(total_frames)
    sent = environments.name_of(env) if callable(env) else None
    return Training(command, folder, total, tracker, sent)


def _environment(env: str | Sequence[str] | Callable[..., Any], folder: Path, settings: dict[str, Any]) -> list[str]:
    """The flags for the environment and the folder."""
    sent = []
    if isinstance(env, str):
        names = [environments.id_of(env)]
    elif callable(env):
        names = [environments.SENT_ID]
        sent = [f"--env-arg=file={environments.send(env, folder).absolute()}"]
    else:
        names = [environments.id_of(task) for task in env]
    where = [*(f"--env={name}" for name in names), f"--run-dir={folder}", *sent]
    if any(name.startswith(environments.PREFIXES) for name in names):
        where.append(f"--python={sys.executable}")
    return where


def _folder(requested: str | os.PathLike[str] | None, name: str) -> Path:
    """Makes the folder of a run; the first free number below `runs/` if none is asked for."""
    if requested is not None:
        folder = Path(requested)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    parent = Path("runs")
    parent.mkdir(exist_ok=True)
    number = 1
    while True:
        folder = parent / f"{name}-{number:03}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def train(
    env: str | Sequence[str] | Callable[..., Any] | None = None,
    *,
    actors: int | None = 4,
    total_frames: float | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    tracker: str | None = None,
    live: bool = True,
    **settings: Any,
) -> Run:
    """Trains, with a live line, and gives the finished run. Arguments are those of `start`; `live=False` prints nothing.

    Ctrl-C ends the run in order: it saves, and what it came to is returned. Pressed again, it does not wait for the actors.

    Raises `TrainError` with the program's line and exit code if the run failed; bad settings and environments are
    `SettingError` and `EnvError`.
    """
    training = start(env, actors=actors, total_frames=total_frames, run_dir=run_dir, resume=resume, tracker=tracker, **settings)
    line = progress.Line() if live else None
    while True:
        try:
            run = training.wait(POLL_S)
        except TimeoutError:
            if line:
                line.show(progress.text(training.progress(), training.total_frames))
        except KeyboardInterrupt:
            training.stop()
        else:
            break
    if line:
        line.end(_ended(run))
    return run


def _ended(run: Run) -> str:
    found = run.summary or {}
    mean = found.get("return_mean_100")
    shown = "-" if mean is None else f"{mean:.1f}"
    frames, speed = progress.si(found.get("frames", 0)), progress.si(found.get("frames_per_s", 0))
    return f"{found.get('status')}: return {shown}, {frames} frames in {found.get('wall_s', 0):.1f} s ({speed} frames/s); {run.path}"
