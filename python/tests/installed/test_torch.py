"""Policies as modules of PyTorch."""

import importlib.util
import unittest

import numpy as np
from test_interface import QUIET, InFolder

import impala_rl

HAS_TORCH = importlib.util.find_spec("torch") is not None


class InPyTorch(InFolder):
    """Each kind of network as a module of PyTorch."""

    NETWORKS = [
        ("CartPole-v1", {}),
        ("CartPole-v1", {"frame_stack": 3, "activation": "relu", "hidden": [32]}),
        ("CartPole-v1", {"action_reward_inputs": True, "separate_value": True}),
        ("CartPole-v1", {"core": "lstm", "core_size": 20}),
        ("Pendulum-v1", {}),
        ("Pendulum-v1", {"core": "lstm", "core_size": 20, "popart": True}),
        ("Catch-v0", {}),
        ("Catch-v0", {"core": "lstm", "core_size": 20}),
        ("Catch-v0", {"torso": "impala-deep", "total_frames": 2000}),
        ("Recall-v0", {}),
        ("Synthetic-v0", {"torso": "nature", "batch": 4, "total_frames": 600}),
    ]

    def setUp(self):
        if not HAS_TORCH:
            self.skipTest("run.to_torch() is not tested: there is no torch here; IMPALA_TEST_TORCH names a site-packages that has it")

    def test_outputs_values_and_states_are_the_same(self):
        import torch

        for env, settings in self.NETWORKS:
            with self.subTest(env=env, **settings):
                run = impala_rl.train(env, actors=2, **{"total_frames": 8000, **settings}, **QUIET)
                policy, module = run.policy(), run.to_torch()
                self.assertEqual(list(module.state_dict()), list(policy.weights()))
                random = np.random.default_rng(2)
                shape = (32, *policy.observation_shape)
                state, theirs = None, None
                for _ in range(4):
                    if policy.observation_dtype == np.uint8:
                        seen = random.integers(0, 256, shape, np.uint8)
                    else:
                        seen = random.normal(size=shape).astype(np.float32)
                    reward = random.normal(size=32).astype(np.float32)
                    with torch.no_grad():
                        memory = (theirs, torch.from_numpy(reward)) if policy.state_len else ()
                        outputs, values, *after = module(torch.from_numpy(seen), *memory)
                    given = {"state": state, "reward": reward, "starts": np.full(32, state is None)} if policy.state_len else {}
                    if state is None and policy.sees_reward:
                        given["starts"] = np.zeros(32, bool)
                    np.testing.assert_allclose(outputs.numpy(), policy.logits(seen, **given), atol=1e-5)
                    # With PopArt values are in the units of returns.
                    relative = 1e-5 if settings.get("popart") else 1e-7
                    np.testing.assert_allclose(values.numpy(), policy.value(seen, **given), rtol=relative, atol=1e-5)
                    _, state = policy.act(seen, deterministic=True, **given)
                    if policy.state_len:
                        np.testing.assert_allclose(after[0].numpy(), state, atol=1e-5)
                        theirs = after[0]


class WithoutPyTorch(InFolder):
    def test_what_is_missing_is_one_line(self):
        if HAS_TORCH:
            self.skipTest("there is torch here")
        run = impala_rl.train("CartPole-v1", actors=1, total_frames=2000, **QUIET)
        with self.assertRaisesRegex(impala_rl.MissingPackage, "pip install torch") as caught:
            run.to_torch()
        self.assertIsInstance(caught.exception, ImportError)
        self.assertNotIn("\n", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
