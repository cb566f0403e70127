"""Figures and trackers."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import unittest
import warnings
from pathlib import Path

import numpy as np
from test_interface import QUIET, InFolder

import impala_rl
from impala_rl import track


def missing(package):
    return importlib.util.find_spec(package) is None


class Figures(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trained = impala_rl.train("CartPole-v1", actors=2, total_frames=4e4, log_interval=0.1, **QUIET)

    @unittest.skipIf(missing("matplotlib"), "run.plot() is not tested: there is no matplotlib here; IMPALA_TEST_TORCH names a site-packages that has it")
    def test_a_run_is_drawn(self):
        run = self.trained
        figure = run.plot("run.png")
        self.assertEqual(Path("run.png").read_bytes()[:4], b"\x89PNG")
        panels = figure.get_axes()
        self.assertEqual(len(panels), 4)
        dots, mean = panels[0].lines
        np.testing.assert_array_equal(dots.get_ydata(), run.episodes()["return"])
        np.testing.assert_array_equal(mean.get_ydata(), run.metrics()["return_mean"])
        for panel in panels[1:]:
            self.assertGreater(np.isfinite(panel.lines[0].get_ydata()).sum(), 1, panel.get_ylabel())
        self.assertIn("finished", panels[0].get_title())

    @unittest.skipUnless(missing("matplotlib"), "there is matplotlib here")
    def test_what_is_missing_is_one_line(self):
        with self.assertRaisesRegex(impala_rl.MissingPackage, "pip install matplotlib"):
            self.trained.plot()


FAKE = """
import atexit, json, os
lines = []
class Summary(dict): pass
class Run:
    def __init__(self): self.summary = Summary()
    def log(self, values, step):
        lines.append([step, values])
        if os.environ.get("FAKE_DIES"): raise OSError("no network")
    def finish(self):
        with open(os.environ["FAKE_OUT"], "w") as file: json.dump({"config": config, "lines": lines, "summary": self.summary}, file)
def init(project, name, config, dir):
    globals()["config"] = {"project": project, "name": name, **config}
    return Run()
"""


class Trackers(InFolder):
    """With a package that stands for wandb; and with the real ones, offline, where they are installed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        Path("fake").mkdir()
        Path("fake/wandb.py").write_text(FAKE)

    def setUp(self):
        sys.path.insert(0, os.path.abspath("fake"))
        self.addCleanup(sys.path.pop, 0)
        kept = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(kept)))
        os.environ.update(PYTHONPATH=os.path.abspath("fake"), FAKE_OUT=os.path.abspath(f"{self.id()}.json"))

    def tracked(self):
        return json.loads(Path(os.environ["FAKE_OUT"]).read_text())

    def test_a_run_is_sent_as_it_goes(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run = impala_rl.train("CartPole-v1", actors=2, total_frames=3e4, log_interval=0.1, tracker="wandb", **QUIET)
        found, metrics = self.tracked(), run.metrics()
        self.assertEqual([step for step, _ in found["lines"]], metrics["frames"].tolist())
        self.assertEqual((found["config"]["name"], found["config"]["total-frames"]), (run.path.name, 30000))
        last = found["lines"][-1][1]
        self.assertEqual(last["learner.updates"], metrics["learner.updates"][-1])
        self.assertEqual(found["summary"]["status"], "finished")

    def test_its_death_is_a_warning(self):
        os.environ["FAKE_DIES"] = "1"
        with self.assertWarnsRegex(UserWarning, "tracker wandb ended with code 1; the run goes on.*no network"):
            run = impala_rl.train("CartPole-v1", actors=2, total_frames=3e4, log_interval=0.1, tracker="wandb", **QUIET)
        self.assertEqual(run.summary["status"], "finished")

    def test_a_run_that_does_not_come_about_leaves_nothing(self):
        with self.assertRaises(impala_rl.SettingError):
            impala_rl.train("CartPole-v1", discount=2, run_dir="none", tracker="wandb", **QUIET)
        self.assertFalse(Path(os.environ["FAKE_OUT"]).exists())
        for tracker, kind, part in [("wandbb", impala_rl.SettingError, "there are wandb, mlflow"), ("mlflow", impala_rl.MissingPackage, "pip install mlflow")]:
            if tracker == "mlflow" and not missing("mlflow"):
                continue
            with self.assertRaisesRegex(kind, part):
                impala_rl.start("CartPole-v1", tracker=tracker)

    def test_any_run_is_sent_from_the_shell(self):
        run = impala_rl.train("CartPole-v1", actors=1, total_frames=5000, **QUIET)
        self.assertFalse(track.is_running(run.path))
        done = subprocess.run(["impala-track", run.path, "--tracker=wandb", "--project=p"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.tracked()["config"]["project"], len(self.tracked()["lines"])), ("p", len(run.metrics()["frames"])))
        training = impala_rl.start("CartPole-v1", actors=1, total_frames=1e12, report=False)
        while training.running and not training.progress()["frames"]:
            with contextlib.suppress(TimeoutError):
                training.wait(0.05)
        self.assertTrue(track.is_running(training.run_dir), "the folder is held")
        training.stop()
        training.wait(120)
        with self.assertRaisesRegex(impala_rl.RunError, "holds no run"):
            track.follow(Path("nowhere"), "wandb", "p", start_s=0)


class Offline(InFolder):
    """The packages themselves, without a network."""

    @unittest.skipIf(missing("wandb"), "wandb is not tested: it is not here; IMPALA_TEST_TORCH names a site-packages that has it")
    def test_wandb(self):
        self.sent("wandb", WANDB_MODE="offline", WANDB_SILENT="true")
        self.assertTrue(list(Path("runs").glob("*/wandb/offline-run-*/*.wandb")))

    @unittest.skipIf(missing("mlflow"), "mlflow is not tested: it is not here; IMPALA_TEST_TORCH names a site-packages that has it")
    def test_mlflow(self):
        place = f"sqlite:///{os.getcwd()}/mlflow.db"
        run = self.sent("mlflow", MLFLOW_TRACKING_URI=place)
        import mlflow

        client = mlflow.MlflowClient(place)
        experiment = client.get_experiment_by_name("impala-rl")
        (found,) = client.search_runs([experiment.experiment_id])
        self.assertEqual(found.data.tags["status"], "finished")
        self.assertEqual(found.data.metrics["summary.frames"], run.summary["frames"])
        self.assertEqual(found.data.params["actors"], "2")
        sent = client.get_metric_history(found.info.run_id, "learner.updates")
        self.assertEqual([point.step for point in sent], run.metrics()["frames"].astype(int).tolist())

    def sent(self, tracker, **environment):
        os.environ.update(environment)
        self.addCleanup(lambda: [os.environ.pop(name) for name in environment])
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return impala_rl.train("CartPole-v1", actors=2, total_frames=3e4, tracker=tracker, **QUIET)


if __name__ == "__main__":
    unittest.main()
