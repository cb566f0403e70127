"""Policies that remember."""

import unittest

import gymnasium
import numpy as np
from test_interface import QUIET, InFolder

import impala_rl


class Late(gymnasium.Env):
    """Says a number, and asks for it two steps later."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def _seen(self):
        return np.array([self.cue if self.steps == 0 else 0.0, self.steps == 2], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.steps = float(self.np_random.choice([-1, 1])), 0
        return self._seen(), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == 3
        return self._seen(), float(over and (action == 1) == (self.cue > 0)), over, False, {}


class OfARunThatRemembers(InFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        memory = {"core": "lstm", "core_size": 16, "hidden": [16]}
        cls.run_dir = impala_rl.train(Late, actors=2, total_frames=1.5e5, seed=1, **memory, **QUIET).path

    def test_the_state_is_the_callers(self):
        policy = impala_rl.load(self.run_dir).policy()
        self.assertEqual((policy.state_len, policy.sees_reward), (2 * 16 + 2, True))
        batch = np.random.default_rng(1).uniform(-1, 1, (8, 2)).astype(np.float32)
        actions, state = policy.act(batch, deterministic=True)
        self.assertEqual((actions.shape, state.shape, state.dtype), ((8,), (8, 34), np.float32))
        np.testing.assert_array_equal(state[:, 32:], np.eye(2, dtype=np.float32)[actions], "the action is part of it")
        reward = np.linspace(-2, 2, 8)
        _, after = policy.act(batch, state, True, reward=reward)
        self.assertFalse(np.array_equal(after, state))
        self.assertFalse(np.array_equal(policy.logits(batch, state), policy.logits(batch)))
        self.assertFalse(np.array_equal(policy.logits(batch, state, reward=reward), policy.logits(batch, state)))
        self.assertFalse(np.array_equal(policy.value(batch, state), policy.value(batch)))
        for row in range(8):
            one, own = policy.act(batch[row], state[row], True, reward=reward[row])
            self.assertIs(type(one), int)
            np.testing.assert_array_equal(own, after[row], "alone as among others, to the bit")
        # Three ways to begin an episode.
        zeros = np.zeros_like(state)
        starts = np.arange(8) % 2 == 0
        _, none = policy.act(batch, None, True)
        _, zeroed = policy.act(batch, zeros, True)
        _, some = policy.act(batch, state, True, reward=reward, starts=starts)
        np.testing.assert_array_equal(none, zeroed)
        np.testing.assert_array_equal(some, np.where(starts[:, None], none, after))

    def test_what_is_no_state_is_one_line(self):
        policy = impala_rl.load(self.run_dir).policy()
        for given, part in [
            ({"state": np.zeros(3)}, r"a state of shape \[3\]; .* takes \[34\]"),
            ({"state": np.zeros((1, 34))}, r"a state of shape \[1, 34\]"),
            ({"state": "x"}, "state is 'x'"),
            ({"reward": [1, 2]}, r"a reward of shape \[2\]"),
            ({"starts": [True]}, r"starts of shape \[1\]"),
        ]:
            with self.assertRaisesRegex(impala_rl.PolicyError, part) as caught:
                policy.act(np.zeros(2), **given)
            self.assertNotIn("\n", str(caught.exception))
        with self.assertRaisesRegex(impala_rl.PolicyError, "not finite"):
            policy.act(np.zeros(2), state=np.full(34, np.nan))

    def test_it_remembers_in_fresh_episodes(self):
        policy = impala_rl.load(self.run_dir).policy()
        for env in (None, Late):
            self.assertGreater(impala_rl.evaluate(policy, env, 40, deterministic=True).mean, 0.9)
        # Without its state it guesses.
        env, right = Late(), 0
        for seed in range(40):
            seen, _ = env.reset(seed=seed)
            for _ in range(3):
                seen, reward, *_ = env.step(policy.act(seen, deterministic=True)[0])
            right += reward
        self.assertLess(right, 36)


if __name__ == "__main__":
    unittest.main()
