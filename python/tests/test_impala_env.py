"""Tests of the package; `make test-python` runs them, or `python -m unittest` in this folder."""

import contextlib
import io
import json
import mmap
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import types
import unittest

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE.parent / "src" / "impala_env"
ENVS = HERE.parents[1] / "tests" / "python"
sys.path[:0] = [str(PACKAGE.parent), str(ENVS)]

import gymnasium as gym
import impala_test_envs
import numpy as np
from gymnasium import spaces

from impala_env import actions, batch, check, errors, making, trying
from impala_env import spaces as codecs


class Spaces(unittest.TestCase):
    def observed(self, name):
        space, value = impala_test_envs.OBSERVATIONS[name]
        codec = codecs.Observation(space)
        one = np.zeros((1, *codec.shape), codec.numpy)
        codec.write_one(value, codec.view(one)[0, ...])
        return codec, one[0]

    def test_one_and_many_give_the_same(self):
        for name, (space, value) in impala_test_envs.OBSERVATIONS.items():
            if name in ("text", "sequence"):
                with self.assertRaises(errors.Unusable):
                    codecs.Observation(space)
                continue
            codec, one = self.observed(name)
            many = np.zeros((2, *codec.shape), codec.numpy)
            codec.write(gym.vector.utils.concatenate(space, [value, value], gym.vector.utils.create_empty_array(space, 2)), codec.view(many))
            np.testing.assert_array_equal(many, [one, one], name)

    def test_images_get_their_channels_first(self):
        codec, row = self.observed("image")
        np.testing.assert_array_equal(row, np.moveaxis(impala_test_envs.IMAGE, 2, 0))
        self.assertEqual((codec.dtype, codec.shape), ("u8", [3, 2, 5]))
        first = codecs.Observation(spaces.Box(0, 255, (1, 84, 84), np.uint8))
        self.assertEqual(first.shape, [84, 84])
        small = codecs.Observation(spaces.Box(0, 255, (3, 3, 3), np.uint8))
        self.assertEqual((small.shape, small.channels_last), ([3, 3, 3], False))

    def test_parts_lie_in_order(self):
        codec, row = self.observed("dict")
        self.assertEqual(
            [(part.path, part.start, part.length) for part in codec.parts],
            [("['inner'][0]", 0, 2), ("['inner'][1]", 2, 2), ("['where']", 4, 2)],
        )
        np.testing.assert_allclose(row, [0, 1, 1, 0, 0.25, 0.5])

    def test_lies_are_found(self):
        for space, lie in [
            (spaces.Box(0, 1, (2,), np.float32), np.zeros(3)),
            (spaces.Box(0, 255, (2,), np.uint8), np.zeros(2)),
            (spaces.Discrete(3), 3),
            (spaces.Discrete(3), 1.5),
            (spaces.MultiDiscrete([2, 2]), [0, 2]),
            (spaces.MultiBinary(2), [0, 1, 1]),
            (spaces.Dict(a=spaces.Discrete(2), b=spaces.Discrete(2)), {"a": 1}),
            (spaces.Box(0, 1, (2,), np.float32), "ab"),
            (spaces.Box(0, 1, (2,), np.float32), [[1], [1, 2]]),
        ]:
            codec = codecs.Observation(space)
            with self.assertRaises(errors.EnvFault, msg=f"{space} {lie}"):
                codec.write_one(lie, codec.view(np.zeros((1, *codec.shape), codec.numpy))[0, ...])

    def test_actions_are_what_the_spaces_contain(self):
        for name, space in impala_test_envs.ACTIONS.items():
            if name in ("text", "sequence"):
                with self.assertRaises(errors.Unusable):
                    actions.Action(space)
                continue
            action = actions.Action(space)
            words = trying.random_words(types.SimpleNamespace(action=action, envs=3), 20)
            for row in words:
                for one in action.read_each(action.view(row)):
                    self.assertTrue(space.contains(one), f"{name}: {one!r}")
                batch = action.read(action.view(row))
                self.assertTrue(gym.vector.utils.batch_space(space, 3).contains(batch), f"{name}: {batch!r}")

    def test_words_of_parts_lie_in_the_documented_order(self):
        space = spaces.Dict(
            a=spaces.Box(-1, 1, (2,), np.float32),
            b=spaces.Tuple((spaces.Discrete(3, start=5), spaces.Box(2, 4, (2,), np.int16))),
            c=spaces.Box(0, 1000, (), np.int64),
        )
        action = actions.Action(space)
        self.assertEqual(
            action.describe(),
            {"kind": "hybrid", "sizes": [3, 3, 3], "low": [-1.0, -1.0, 0.0], "high": [1.0, 1.0, 1000.0]},
        )
        words = np.array([[1, 0, 2, 0, 0, 0]], np.int32)
        words[0, 3:] = np.array([0.25, -0.5, 41.6], np.float32).view(np.int32)
        (one,) = action.read_each(action.view(words))
        self.assertEqual(list(one), ["a", "b", "c"])
        self.assertEqual((one["a"].tolist(), one["b"][0], one["b"][1].tolist()), ([0.25, -0.5], 6, [2, 4]))
        self.assertEqual((one["b"][1].dtype, one["c"], one["c"].dtype), (np.int16, 42, np.int64))
        self.assertTrue(space.contains(one))

    def test_rounded_numbers_stay_inside_whatever_their_type(self):
        for dtype in (np.int8, np.uint8, np.int32, np.int64, np.uint64):
            limits = np.iinfo(dtype)
            space = spaces.Box(limits.min, limits.max, (3,), dtype)
            action = actions.Action(space)
            words = np.array([[action.low[0], action.high[0], 7.5]], np.float32)
            (one,) = action.read_each(action.view(words))
            self.assertTrue(space.contains(one), f"{dtype}: {one}")
            self.assertEqual(one.tolist(), [limits.min, limits.max, 8])

    def test_actions_at_their_bounds_and_of_narrow_types_are_contained(self):
        for space in (
            spaces.Box(-0.1, 0.1, (2,), np.float64),
            spaces.Box(-0.1, 0.1, (2,), np.float16),
            spaces.Tuple((spaces.Box(0.3, 0.7, (), np.float64), spaces.Discrete(3, dtype=np.int8))),
            spaces.Discrete(3, start=-1, dtype=np.int16),
        ):
            action = actions.Action(space)
            for bounds in (action.low, action.high):
                words = np.zeros((1, action.words), np.int32)
                words[0, len(action.sizes) :] = bounds.view(np.int32)
                (one,) = action.read_each(action.view(words.view(action.numpy)))
                self.assertTrue(space.contains(one), f"{space}: {one!r}")

    def test_masks_are_flat_or_trees(self):
        space = spaces.Dict(a=spaces.Discrete(2), b=spaces.Tuple((spaces.MultiDiscrete([2, 3]), spaces.Box(0, 1, (1,)))))
        action = actions.Action(space)
        trees = {"a": np.array([1, 0]), "b": ((np.array([0, 1]), np.array([1, 1, 0])), None)}
        expected = [True, False, False, True, True, True, False]
        for mask in (np.array(expected, np.int8), [int(m) for m in expected], trees):
            self.assertEqual(action.mask(mask, ()).tolist(), expected)
        self.assertEqual(action.mask({"a": None, "b": (np.ones(5), None)}, ()).tolist(), [True] * 7)
        switches = actions.Action(spaces.MultiBinary(3))
        self.assertEqual(switches.mask(np.array([0, 1, 2], np.int8), ()).tolist(), [True, False, False, True, True, True])
        self.assertEqual(switches.mask(np.array([0, 1, 1, 1, 1, 0], np.int8), ()).tolist(), [False, True, True, True, True, False])
        for lie in (np.ones(6), {"a": np.ones(2)}, {"a": np.ones(3), "b": (np.ones(5), None)}):
            with self.assertRaises(errors.EnvFault):
                action.mask(lie, ())

    def test_bounds_that_are_none(self):
        self.assertEqual(
            actions.Action(spaces.Box(np.array([-np.inf, 0]), np.array([1, np.inf]))).describe(),
            {"kind": "continuous", "low": [None, 0.0], "high": [1.0, None]},
        )


class Making(unittest.TestCase):
    def test_options_are_literals_or_text(self):
        for text, value in [("1", 1), ("0.5", 0.5), ("true", True), ("False", False), ("None", None),
                            ("[1, 2]", [1, 2]), ("8x8", "8x8"), ("a b", "a b"), ("", "")]:
            self.assertEqual(making.literal(text), value)

    def test_wrappers_are_named_by_module_or_file(self):
        self.assertIs(making.wrapper_of("impala_test_envs:doubled"), impala_test_envs.doubled)
        self.assertEqual(making.wrapper_of(f"{ENVS}/impala_test_envs.py:doubled").__name__, "doubled")
        self.assertIs(making.wrapper_of("gymnasium.wrappers:TimeLimit"), gym.wrappers.TimeLimit)
        for bad in ["doubled", "impala_test_envs:", "impala_test_envs:not_callable", "nowhere.py:x", "no.such:x"]:
            with self.assertRaises(errors.Unusable):
                making.wrapper_of(bad)

    def test_seeds_differ_and_repeat(self):
        seeds = [batch.seed_of(seed, index) for seed in (0, 1, (1 << 64) - 1) for index in range(50)]
        self.assertEqual(len(set(seeds)), len(seeds))
        self.assertTrue(all(0 <= seed < 1 << 31 for seed in seeds))
        # SplitMix64 of 0, its first number: e220a8397b1dcdaf.
        self.assertEqual(batch.seed_of(0, 0), 0xE220A8397B1DCDAF >> 33)

    def test_a_vector_environment_with_another_autoreset_is_not_used(self):
        class Other(gym.vector.VectorEnv):
            metadata = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}

            def __init__(self, num_envs, **_):
                self.num_envs = num_envs

        gym.register("Other-v0", entry_point=impala_test_envs.Counting, vector_entry_point=Other)
        found = batch.make(making.Maker("Other-v0"), 2, 1)
        self.assertIsInstance(found, batch.ByHand)
        gym.register("OtherOnly-v0", entry_point=None, vector_entry_point=Other)
        with self.assertRaises(errors.Unusable):
            batch.make(making.Maker("OtherOnly-v0"), 2, 1)
        self.assertIsInstance(batch.make(making.Maker("CartPole-v1"), 2, 1), batch.OwnVector)
        wrapped = making.Maker("CartPole-v1", wrapper="impala_test_envs:doubled")
        self.assertIsInstance(batch.make(wrapped, 2, 1), batch.ByHand)


class Checking(unittest.TestCase):
    def check(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = check.main(list(arguments))
        return code, out.getvalue(), err.getvalue()

    def test_a_good_environment_is_usable(self):
        code, out, _ = self.check("impala_test_envs:Spaces-v0", "--env-arg", "observation=dict", "--steps", "50")
        self.assertEqual(code, 0)
        for part in ["observation['inner'][1], bytes / 255", "steps/s", "usable", "f32 [6]"]:
            self.assertIn(part, out)
        code, out, _ = self.check("CartPole-v1", "--steps", "300", "--json")
        report = json.loads(out)
        self.assertEqual((code, report["observation"], report["vector"]), (0, {"dtype": "f32", "shape": [4]}, True))
        self.assertGreater(report["episodes"], 0)

    def test_a_bad_one_is_not(self):
        for arguments, code, says in [
            (["NoSuchThing-v0"], 2, "name its module: gym:MODULE:NoSuchThing-v0"),
            (["CartPole-v1", "--wrapper", "json:nope"], 2, "wrapper json:nope: json has no nope"),
            (["PongNoFrameskip-v4"], 2, "(--env-arg frameskip=1 for one)"),
            (["impala_test_envs:Spaces-v0", "--env-arg", "observation=text"], 2, "Text space"),
            (["impala_test_envs:Counting-v0", "--env-arg", "fault=raise", "--env-arg", "at=10"], 1, "out of cheese"),
            (["impala_test_envs:Counting-v0", "--env-arg", "fault=nan", "--env-arg", "at=10"], 1, "not finite"),
            (["impala_test_envs:Counting-v0", "--env-arg", "fault=shape", "--env-arg", "at=10"], 1, "has shape [3]"),
            (["CartPole-v1", "--env-arg", "x"], 2, "KEY=VALUE"),
        ]:
            found, _, err = self.check(*arguments)
            self.assertEqual(found, code, err)
            self.assertIn(says, err)


class Protocol(unittest.TestCase):
    """The messages of `docs/environment-abi.md`, spoken by hand."""

    def setUp(self):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(60)
        boot = (PACKAGE / "boot.py").read_text()
        command = [sys.executable, "-u", "-c", boot, str(os.getpid())]
        self.worker = subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL)
        theirs.close()
        for path in PACKAGE.glob("*.py"):
            name = "impala_env" if path.stem == "__init__" else f"impala_env.{path.stem}"
            self.ours.send(name.encode() + b"\0" + path.read_bytes())
        self.ours.send(b"\0")

    def tearDown(self):
        self.worker.kill()
        self.worker.wait()
        self.ours.close()

    def begin(self, **changes):
        request = dict(abi=3, env="impala_test_envs:Counting-v0", options=[["length", "2"]], wrapper=None,
                       envs=2, seed=7, path=[str(ENVS)])
        (commands, self.commands), (self.answers, answers) = os.pipe(), os.pipe()
        socket.send_fds(self.ours, [json.dumps(request | changes).encode()], [commands, answers])
        os.close(commands), os.close(answers)
        self.addCleanup(os.close, self.answers)
        return json.loads(self.ours.recv(65536))

    def call(self, operation, argument, *addresses):
        command = struct.pack("<II5Q", operation, argument, *addresses, *[0] * (5 - len(addresses)))
        os.write(self.commands, command)
        self.assertTrue(select.select([self.answers], [], [], 60)[0], "no answer")
        status, = struct.unpack("<I", os.read(self.answers, 4))
        return status, self.ours.recv(65536).decode() if status else ""

    def test_a_run(self):
        self.assertEqual(
            self.begin(),
            {"abi": 3, "observation": {"dtype": "f32", "shape": [4]}, "action": {"kind": "discrete", "n": 2},
             "masks": False},
        )
        memory = os.memfd_create("test")
        os.truncate(memory, 8192)
        view = mmap.mmap(memory, 8192)
        socket.send_fds(self.ours, [b"\0"], [memory])
        self.assertEqual(self.call(1, 1, 8192), (0, ""))
        ring = 1 << 56
        self.assertEqual(self.call(2, 0, ring + 4096), (0, ""))
        first = np.frombuffer(view, np.float32, 8, 4096).reshape(2, 4)
        self.assertEqual(first[:, :2].tolist(), [[0, 1], [0, 1]])
        ends, rewards = np.frombuffer(view, np.uint8, 4, 64).reshape(2, 2), np.frombuffer(view, np.float32, 2, 128)
        told = []
        for _ in range(4):
            self.assertEqual(self.call(3, 0, ring + 4096, ring + 128, ring + 64, 0, ring), (0, ""))
            told.append((first[0, 0].item(), rewards[0].item(), ends[0].tolist(), ends[1].tolist()))
        self.assertEqual(told[:2], [(1, 1, [0, 0], [0, 0]), (2, 2, [1, 1], [0, 0])])
        # The third step starts the next episode, whatever it says of rewards and ends.
        self.assertEqual((told[2][0], told[3]), (0, (1, 1, [0, 0], [0, 0])))
        status, text = self.call(9, 0)
        self.assertEqual((status, text), (1, "there is no operation 9"))
        del first, ends, rewards
        os.close(self.commands)
        self.assertEqual(self.worker.wait(60), 0)

    def test_an_actor_that_never_asks(self):
        self.ours.shutdown(socket.SHUT_WR)
        self.assertEqual(self.worker.wait(60), 0)

    def test_refusals(self):
        self.assertIn("version 9", self.begin(abi=9)["unusable"])
        self.assertEqual(self.worker.wait(60), 0)

    def test_failures(self):
        # The first reset comes before the first answer.
        self.assertIn("out of cheese", self.begin(env="impala_test_envs:Broken-v0", options=[])["failed"])

    def test_it_dies_with_its_parent(self):
        # As Python starts, this test may be long past it: the flag must be set before anything else.
        self.begin()
        status = pathlib.Path(f"/proc/{self.worker.pid}/comm").read_text().strip()
        self.assertEqual(status, "impala-worker")
        self.worker.send_signal(signal.SIGINT)
        self.assertEqual(self.call(9, 0)[0], 1, "the terminal's Ctrl-C is for the supervisor")


if __name__ == "__main__":
    unittest.main()
