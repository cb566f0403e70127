"""The Python interface, in an environment in which the wheel is installed (`python/tests/wheel/test_wheel.py` runs this)."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import gymnasium
import numpy as np

import impala_rl
from impala_rl import environments, programs, progress
from impala_rl.training import last_word

QUIET = {"live": False, "report": False, "tensorboard": False}


class Walk(gymnasium.Env):
    """Three cells to the right there is a treasure. Importable: it is sent by its name."""

    observation_space = gymnasium.spaces.Box(-10, 10, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2, start=3)

    def __init__(self, cells=3):
        self.cells = cells

    def _seen(self):
        return np.array([self.here], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.here, self.steps = 0, 0
        return self._seen(), {}

    def step(self, action):
        assert action in (3, 4), action
        self.here = min(self.here + 1, 9) if action == 4 else max(self.here - 1, -9)
        self.steps += 1
        found = self.here == self.cells
        return self._seen(), float(found), found, self.steps >= 20, {}


class InFolder(unittest.TestCase):
    """Each class works in a folder of its own."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.addClassCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)


class OfARun(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trained = impala_rl.train("CartPole-v1", actors=2, total_frames=6e4, seed=3, hidden=[32, 32], **QUIET)

    def test_what_a_run_left_is_read(self):
        run = impala_rl.load(self.trained.path)
        self.assertEqual((str(run.path), run.summary["status"]), ("runs/CartPole-v1-001", "finished"))
        self.assertEqual((run.settings["hidden"], run.settings["total_frames"], run.settings["seed"]), ([32, 32], 60000, 3))
        metrics, episodes = run.metrics(), run.episodes()
        self.assertEqual(metrics["frames"][-1], run.summary["frames"])
        self.assertEqual({len(column) for column in metrics.values()}, {len(metrics["frames"])})
        self.assertIn("learner.updates", metrics)
        self.assertEqual(list(episodes), ["frames", "seconds", "return", "length"])
        self.assertEqual(len(episodes["return"]), run.summary["episodes"])
        np.testing.assert_array_equal(episodes["return"], episodes["length"])
        self.assertEqual(run.checkpoints()[-1], run.policy().checkpoint)

    def test_one_observation_and_a_batch_get_actions(self):
        policy = self.trained.policy()
        self.assertEqual((policy.env_id, policy.observation_shape, policy.masks), ("CartPole-v1", (4,), False))
        batch = np.random.default_rng(1).uniform(-0.2, 0.2, (64, 4)).astype(np.float32)
        actions, state = policy.act(batch, deterministic=True)
        self.assertIsNone(state)
        self.assertEqual((actions.dtype, actions.shape), (np.int64, (64,)))
        logits = policy.logits(batch)
        np.testing.assert_array_equal(actions, logits.argmax(1))
        for row, action, own in zip(batch, actions, logits):
            one, _ = policy.act(row, deterministic=True)
            self.assertIs(type(one), int)
            self.assertEqual(one, action)
            # To the bit, alone or among others; and whatever the type of what is given.
            np.testing.assert_array_equal(policy.logits(row), own)
            self.assertEqual(policy.act(row.tolist(), deterministic=True)[0], action)
        strided = np.asfortranarray(batch)
        np.testing.assert_array_equal(policy.act(strided, deterministic=True)[0], actions)
        self.assertEqual(policy.value(batch).shape, (64,))
        self.assertAlmostEqual(policy.value(batch[0]), float(policy.value(batch)[0]))
        mask = np.tile([True, False], (64, 1))
        self.assertEqual(policy.act(batch, mask=mask)[0].max(), 0)

    def test_actions_are_drawn_with_their_probabilities(self):
        policy, again = self.trained.policy(seed=5), self.trained.policy(seed=5)
        row = np.array([0.02, 0.01, 0.01, -0.02], np.float32)
        batch = np.tile(row, (20_000, 1))
        drawn, _ = policy.act(batch)
        np.testing.assert_array_equal(drawn, again.act(batch)[0])
        z = policy.logits(row)
        right = 1 / (1 + np.exp(z[0] - z[1]))
        self.assertAlmostEqual(drawn.mean(), right, delta=0.02)

    def test_what_is_no_observation_is_one_line(self):
        policy = self.trained.policy()
        for wrong, part in [
            (np.zeros(5, np.float32), r"shape \[5\].*sees \[4\]"),
            (np.zeros((2, 2, 4), np.float32), r"shape \[2, 2, 4\]"),
            (np.zeros((0, 4), np.float32), r"shape \[0, 4\]"),
            (np.array(["a"] * 4), "sees float32"),
            (None, "sees float32"),
        ]:
            with self.assertRaisesRegex(impala_rl.PolicyError, part) as caught:
                policy.act(wrong)
            self.assertNotIn("\n", str(caught.exception))
        with self.assertRaisesRegex(impala_rl.PolicyError, "mask of shape"):
            policy.act(np.zeros(4), mask=[1, 1, 1])
        with self.assertRaisesRegex(impala_rl.PolicyError, "remembers nothing"):
            policy.act(np.zeros(4), state=np.zeros(3))
        with self.assertRaisesRegex(impala_rl.PolicyError, "not finite"):
            policy.act(np.full(4, np.nan))

    def test_it_is_evaluated_in_its_own_environment_and_in_gymnasiums(self):
        policy = self.trained.policy()
        own = impala_rl.evaluate(policy, episodes=40, deterministic=True)
        theirs = impala_rl.evaluate(policy, "CartPole-v1", episodes=40, deterministic=True)
        for found in (own, theirs):
            self.assertEqual((len(found.returns), len(found.lengths)), (40, 40))
            np.testing.assert_array_equal(found.returns, found.lengths)
            self.assertRegex(str(found), "40 episodes")
        # The same physics: the means are of the same size.
        self.assertLess(abs(own.mean - theirs.mean), 0.35 * max(own.mean, theirs.mean))
        again = impala_rl.evaluate(policy, "CartPole-v1", episodes=40, deterministic=True)
        np.testing.assert_array_equal(theirs.returns, again.returns)
        for env, part in [("Acrobot-v1", r"shows float32 \[6\]"), (Walk, r"shows float32 \[1\]"), ("NoSuch-v3", "doesn't exist")]:
            with self.assertRaisesRegex(impala_rl.EnvError, part):
                impala_rl.evaluate(policy, env)

    def test_it_is_exported(self):
        self.trained.export(onnx="cart.onnx", safetensors="cart.safetensors")
        self.assertGreater(Path("cart.onnx").stat().st_size, 1000)
        self.assertIn("library_name: impala-rl", Path("cart.md").read_text())
        with self.assertRaisesRegex(impala_rl.ImpalaError, "name a file"):
            self.trained.export()

    def test_what_is_no_run_is_one_line(self):
        with self.assertRaisesRegex(impala_rl.RunError, "holds no run"):
            impala_rl.load("nothing")
        other = Path("other")
        other.mkdir()
        (other / "config.toml").write_text((self.trained.path / "config.toml").read_text())
        with self.assertRaisesRegex(impala_rl.RunError, "environment.json"):
            impala_rl.load(other).policy()
        (other / "environment.json").write_text((self.trained.path / "environment.json").read_text())
        with self.assertRaisesRegex(impala_rl.RunError, "no usable checkpoint"):
            impala_rl.load(other).policy()

    def test_a_run_of_another_version_is_one_line(self):
        for file, old, new, part in [
            ("config.toml", "seed = 3", "seed = 3\nmomentumm = 1", "config.toml.*momentumm"),
            ("environment.json", '"masks"', '"maskz"', "environment.json.*masks.*written since version"),
            ("checkpoints/*/manifest.json", '"format": ?[0-9]+', '"format": 99', "another version.*format is 99, this build reads"),
        ]:
            other = Path(f"of-{Path(file).stem}")
            shutil.copytree(self.trained.path, other)
            places = list(other.glob(file))
            self.assertTrue(places)
            for place in places:
                text = place.read_text()
                changed = re.sub(old, new, text)
                self.assertNotEqual(changed, text, file)
                place.write_text(changed)
            with self.assertRaisesRegex(impala_rl.RunError, part) as caught:
                impala_rl.load(other).policy()
            self.assertNotIn("\n", str(caught.exception))


class Handles(InFolder):
    def test_a_run_is_followed_and_stopped(self):
        training = impala_rl.start("CartPole-v1", actors=2, total_frames=1e12, report=False, log_interval=0.1)
        self.assertEqual(training.progress(), {"frames": 0, "frames_per_s": 0.0, "return_mean": None, "wall_s": 0.0})
        while training.running and not training.progress()["frames"]:
            with self.assertRaises(TimeoutError):
                training.wait(0.05)
        self.assertTrue(training.running, training.output())
        self.assertIn("learner", training.metrics())
        self.assertIn("running", repr(training))
        training.stop()
        run = training.wait(120)
        self.assertIn("interrupted", training.output())
        self.assertFalse(training.running)
        self.assertEqual(run.summary["status"], "interrupted")
        self.assertGreater(run.policy().trained_frames, 0)

        again = impala_rl.train(resume=run.path, total_frames=run.summary["frames"] + 20000, **QUIET)
        self.assertEqual(again.summary["status"], "finished")
        self.assertEqual(again.settings["actors"], 2)

    def test_a_run_ends_with_its_program(self):
        script = "import impala_rl\nprint(impala_rl.start('CartPole-v1', actors=1, total_frames=1e12, run_dir='left').pid)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse(Path(f"/proc/{done.stdout.strip()}").exists())

    def test_bad_settings_are_named(self):
        for settings, part in [
            ({"learning_rat": 1}, "no setting 'learning_rat'; did you mean 'learning_rate'"),
            ({"zzzz": 1}, "no setting 'zzzz'; `impala-supervisor --help`"),
            ({"python": "x"}, "python cannot be set here"),
            ({"hidden": object()}, "hidden is <object"),
            ({"resume": "runs/x"}, "either an environment or a run"),
        ]:
            with self.assertRaisesRegex(impala_rl.SettingError, part) as caught:
                impala_rl.start("CartPole-v1", **settings)
            self.assertEqual(caught.exception.exit_code, 2)
        for settings, part in [({"learning_rate": "fast"}, "fast"), ({"discount": 2}, "discount"), ({"torso": "cnn"}, "torso")]:
            with self.assertRaisesRegex(impala_rl.SettingError, part) as caught:
                impala_rl.train("CartPole-v1", live=False, **settings)
            self.assertNotIn("\n", str(caught.exception))
            self.assertIsInstance(caught.exception, impala_rl.TrainError)
        with self.assertRaisesRegex(impala_rl.TrainError, "CartPole-v1"):
            impala_rl.train("Cartpole", live=False)
        self.assertEqual(list(Path("runs").glob("[Cc]art[Pp]ole-00*")), [], "what did not come about leaves no folder")
        self.assertEqual(impala_rl.exit_meaning(14), "learning has diverged")
        self.assertIsNone(impala_rl.exit_meaning(99))


class Faulty(gymnasium.Env):
    """Cannot be made, or fails now and then."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, steps=0):
        if not steps:
            raise RuntimeError("no map")
        self.steps = steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.steps
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        if not self.left:
            raise KeyError("lost")
        return np.zeros(2, np.float32), 0.0, False, False, {}


class Environments(InFolder):
    def test_one_that_fails_is_an_exception_or_a_warning(self):
        with self.assertRaisesRegex(impala_rl.EnvError, "environment Faulty cannot be made: .*no map") as caught:
            impala_rl.train(Faulty, actors=1, total_frames=2000, **QUIET)
        self.assertNotIn("impala_env.check", str(caught.exception), "what was sent is gone")
        with self.assertRaisesRegex(impala_rl.EnvError, "cannot be made.*nomodule"):
            impala_rl.train("nomodule:Foo-v0", actors=1, total_frames=2000, **QUIET)
        with self.assertWarnsRegex(UserWarning, "failed [0-9]+ times and went on"):
            run = impala_rl.train(Faulty, actors=1, total_frames=3000, env_arg={"steps": 400}, **QUIET)
        self.assertGreater(run.summary["env_errors"], 0)
        with self.assertRaisesRegex(impala_rl.EnvError, "Faulty: RuntimeError: no map"):
            impala_rl.evaluate(run.policy(), Faulty, episodes=1)
        with self.assertRaisesRegex(impala_rl.PolicyError, "not one array"):
            run.policy().act([[1.0, 2.0], [3.0]])

    def test_one_of_a_module_is_trained_and_evaluated(self):
        run = impala_rl.train(Walk, actors=2, total_frames=40000, env_arg={"cells": 2}, **QUIET)
        self.assertEqual(run.path.name, "Walk-001")
        self.assertEqual(run.summary["env_errors"], 0)
        policy = run.policy()
        # By the environment of the run, which impala-play finds in its folder; and by one that is given.
        for found in (impala_rl.evaluate(policy, episodes=10), impala_rl.evaluate(policy, Walk, 10, options={"cells": 2})):
            self.assertGreater(found.mean, 0.9)
        self.assertEqual(policy.act(np.zeros(1, np.float32), deterministic=True)[0], 1, "counted from 0")

    def test_one_of_the_program_itself_needs_no_guard(self):
        program = textwrap.dedent(
            """
            import gymnasium, numpy as np, impala_rl
            from helper import SIZE
            print("ran")
            class Guess(gymnasium.Env):
                observation_space = gymnasium.spaces.Discrete(SIZE)
                action_space = gymnasium.spaces.Discrete(SIZE)
                def reset(self, *, seed=None, options=None):
                    super().reset(seed=seed)
                    self.number = int(self.np_random.integers(SIZE))
                    return self.number, {}
                def step(self, action):
                    return self.number, float(action == self.number), True, False, {}
            run = impala_rl.train(lambda: Guess(), actors=2, total_frames=3e4, report=False, live=False)
            print(impala_rl.evaluate(run.policy(), Guess, 20, deterministic=True).mean)
            """
        )
        folder = Path("program")
        folder.mkdir()
        (folder / "helper.py").write_text("SIZE = 3\n")
        (folder / "main.py").write_text(program)
        done = subprocess.run([sys.executable, folder / "main.py"], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        ran, mean = done.stdout.split()
        self.assertEqual((ran, float(mean)), ("ran", 1.0))

    def test_one_agent_learns_several_tasks(self):
        tasks = ["CartPole-v1", "Acrobot-v1"]
        run = impala_rl.train(tasks, actors=2, total_frames=2e4, pad_observations=6, stop_at_return=[475, -100], **QUIET)
        policy = run.policy()
        self.assertEqual((policy.observation_shape, policy.masks, policy.action["sizes"]), ((6,), True, [3]))
        self.assertEqual(policy.act(np.zeros((5, 6)), mask=[[1, 0, 0]] * 5)[0].tolist(), [0] * 5)
        self.assertEqual(len(impala_rl.evaluate(policy, episodes=3, task="Acrobot-v1").returns), 3)
        with self.assertRaisesRegex(impala_rl.ImpalaError, "several tasks.*CartPole-v1, Acrobot-v1"):
            impala_rl.evaluate(policy, episodes=1)

    def test_what_is_no_environment_is_one_line(self):
        def broken():
            raise OSError("no screen")

        lock = __import__("threading").Lock()
        for env, kind, part in [
            (Walk(), impala_rl.EnvError, "made already"),
            (3, impala_rl.EnvError, "neither the name"),
            (lambda: lock, impala_rl.EnvError, "cannot be sent"),
            (broken, impala_rl.TrainError, "no screen"),
            (lambda: 3, impala_rl.TrainError, "observation_space|environment"),
            ("gym:NoSuch-v3", impala_rl.TrainError, "NoSuch"),
        ]:
            with self.assertRaisesRegex(kind, part) as caught:
                impala_rl.train(env, live=False)
            self.assertNotIn("\n", str(caught.exception))

    def test_names_are_found_where_they_are(self):
        listed = subprocess.run([programs.find("impala-supervisor"), "--list-envs"], capture_output=True, text=True).stdout
        names = [line.split()[0] for line in listed.splitlines()]
        self.assertEqual(sorted(n for n in names if ":" not in n), sorted(environments.BUILT_IN))
        for given, known in [
            ("CartPole-v1", "CartPole-v1"), ("Taxi-v3", "gym:Taxi-v3"), ("Taxi", "gym:Taxi"), ("a.b:C-v0", "gym:a.b:C-v0"),
            ("ALE/Pong-v5", "gym:ALE/Pong-v5"), ("gym:CartPole-v1", "gym:CartPole-v1"), ("envpool:Pong-v5", "envpool:Pong-v5"),
            ("Cartpole", "Cartpole"),
        ]:
            self.assertEqual(environments.id_of(given), known)


class Words(unittest.TestCase):
    def test_the_line_is_short(self):
        found = progress.text({"frames": 1_234_567, "frames_per_s": 2e6, "return_mean": 12.345, "wall_s": 3.4}, 2_000_000)
        self.assertEqual(found, "1.2M frames of 2.0M (62 %), 2.0M frames/s, return 12.3, 3 s")
        self.assertIn("return -", progress.text({"frames": 0, "frames_per_s": 0, "return_mean": None, "wall_s": 0}, None))

    def test_the_word_of_the_program_is_found(self):
        self.assertEqual(last_word("a\nimpala-supervisor: wrong\nlast\n"), "wrong")
        self.assertEqual((last_word("a\nlast\n\n"), last_word("")), ("last", ""))

    def test_it_is_typed(self):
        self.assertTrue((Path(impala_rl.__file__).parent / "py.typed").exists())


if __name__ == "__main__":
    unittest.main()
