"""Tests of EnvPool's environments; without envpool they are skipped, but those of its absence."""

import pathlib
import subprocess
import sys
import types
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src")]

import numpy as np
from gymnasium import spaces

from impala_env import batch, check, errors, making, pools, trying

try:
    import envpool
except ImportError:
    envpool = None


def said(refusal):
    """As `impala_env.check` says it."""
    return f"{refusal}{errors.put(refusal.remedy, check.FLAGS)}"


class Absent(unittest.TestCase):
    def test_it_is_told_how_to_install_it(self):
        there = sys.modules.get("envpool")
        # Python's way to say that a module is not there.
        sys.modules["envpool"] = None
        try:
            with self.assertRaises(errors.Unusable) as refused:
                making.maker_of("envpool", "CartPole-v1")
        finally:
            del sys.modules["envpool"]
            if there:
                sys.modules["envpool"] = there
        self.assertIn("-m pip install envpool", said(refused.exception))
        with self.assertRaises(errors.Unusable):
            making.maker_of("elsewhere", "CartPole-v1")

    def test_limits_of_floats_are_no_bounds(self):
        for dtype in (np.float32, np.float64):
            limit = np.finfo(dtype)
            low, high = np.array([limit.tiny, -1], dtype), np.array([limit.max, 1], dtype)
            space = pools.unbounded(spaces.Dict(a=spaces.Box(low, high, dtype=dtype), b=spaces.Discrete(2)))
            self.assertEqual((space["a"].low.tolist(), space["a"].high.tolist()), ([-np.inf, -1], [np.inf, 1]))
            self.assertEqual((space["a"].dtype, space["b"].n), (dtype, 2))


@unittest.skipUnless(envpool, "no envpool here: pip install envpool")
class Pools(unittest.TestCase):
    def made(self, name, envs=3, seed=1, **options):
        return batch.make(making.maker_of("envpool", name, [(key, str(value)) for key, value in options.items()]), envs, seed)

    def recorded(self, pool, steps):
        trial, found = trying.Trial(pool), []
        trial.reset()
        for _ in range(steps):
            trial.step()
            found.append((trial.frames.copy(), trial.rewards.copy(), trial.ends.copy(), trial.over.copy()))
        return found

    def same(self, one, other):
        return all(np.array_equal(a, b) for left, right in zip(one, other) for a, b in zip(left, right))

    def test_seeds_repeat_episodes_and_differ_between_environments(self):
        one, again, other = (self.recorded(self.made("CartPole-v1", seed=seed), 60) for seed in (1, 1, 2))
        self.assertTrue(self.same(one, again))
        self.assertFalse(self.same(one, other))
        self.assertEqual(len({row.tobytes() for row in one[0][0]}), 3)
        # Environment i has the same seed however many there are.
        few = self.made("CartPole-v1", envs=1)
        frames = np.zeros((1, 4), np.float32)
        few.reset(frames, None)
        three = np.zeros((3, 4), np.float32)
        self.made("CartPole-v1").reset(three, None)
        np.testing.assert_array_equal(frames[0], three[0])

    def test_the_short_way_gives_the_same(self):
        for name in ("CartPole-v1", "Pendulum-v1", "Blackjack-v1", "Hopper-v4"):
            short, long = self.made(name, max_episode_steps=20), self.made(name, max_episode_steps=20)
            self.assertIsNotNone(short.direct, name)
            long.direct = None
            one, other = self.recorded(short, 100), self.recorded(long, 100)
            self.assertTrue(self.same(one, other), name)
            self.assertTrue(any(ends.any() for _, _, ends, _ in one), name)

    def test_resets_are_where_the_actor_takes_them_to_be(self):
        for name in ("CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "MiniGrid-Empty-5x5-v0", "Hopper-v4", "CartpoleBalance-v1"):
            pool = self.made(name)
            pool.direct = None
            elapsed, step = [], pool.vector.step
            pool.vector = types.SimpleNamespace(
                step=lambda action: (found := step(action), elapsed.append(found[4]["elapsed_step"]))[0],
                reset=pool.vector.reset,
            )
            over = np.zeros(3, bool)
            for (_, _, _, after), steps in zip(self.recorded(pool, 250), elapsed):
                np.testing.assert_array_equal(steps == 0, over, name)
                over = after

    def test_an_end_is_no_cut_and_a_cut_is_no_end(self):
        for limit, column in ((500, 0), (5, 1)):
            ends = sum(ends.astype(int) for _, _, ends, _ in self.recorded(self.made("CartPole-v1", max_episode_steps=limit), 60))
            self.assertGreater(ends[column].sum(), 0)
            self.assertEqual(ends[1 - column].sum(), 0)

    def test_names(self):
        for typed, found in (
            ("CartPole", "CartPole-v1"),
            ("cartpole", "CartPole-v1"),
            ("Pong-v5", "ALE/Pong-v5"),
            ("ALE/Pong-v5", "ALE/Pong-v5"),
            ("ALE/Pong", "ALE/Pong-v5"),
        ):
            self.assertEqual(pools.PoolMaker(typed).id, found)
        for typed, says in (
            ("CartPole-v77", "type envpool:CartPole-v1"),
            ("Cartpoole-v1", "CartPole-v1"),
            ("ALE/CartPole-v1", "has no ALE/CartPole-v1"),
            ("Zzzz", "list_all_envs"),
        ):
            with self.assertRaises(errors.Unusable) as refused:
                pools.PoolMaker(typed)
            self.assertIn(says, said(refused.exception))

    def test_refusals(self):
        for name, options, says in (
            ("TicTacToe-v1", {}, "2 players"),
            ("CartPole-v1", {"lives": 3}, "max_episode_steps"),
            ("CartPole-v1", {"num_envs": 3}, "it follows from --envs"),
            ("CartPole-v1", {"num_threads": "two"}, "'two' is a str"),
        ):
            with self.assertRaises(errors.Unusable) as refused:
                self.made(name, **options)
            self.assertIn(says, said(refused.exception))

    def test_the_check_knows_it(self):
        command = [sys.executable, "-W", "ignore", "-m", "impala_env.check", "envpool:CartPole", "--steps", "200"]
        done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(HERE.parent / "src")})
        self.assertEqual(done.returncode, 0, done.stderr)
        for part in ("CartPole-v1: 4 environments, of its own vector implementation", "f32 [4]", "usable"):
            self.assertIn(part, done.stdout)

    def test_it_waits_without_spinning(self):
        import time

        pool = self.made("CartPole-v1")
        self.recorded(pool, 10)
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(0.5)
        self.assertLess(time.process_time() - before, 0.1)


if __name__ == "__main__":
    unittest.main()
