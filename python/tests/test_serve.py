"""Tests of the server; skipped without grpc."""

import io
import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "src"), str(ROOT / "tests" / "python")]

try:
    import google.protobuf  # noqa: F401
    import grpc
except ImportError:
    raise unittest.SkipTest("grpc and protobuf are not installed") from None

import numpy as np

from impala_env import messages as pb
from impala_env import serve, streams
from impala_env.errors import Unusable
from impala_env.making import maker_of

COUNTING = "impala_test_envs:Counting-v0"


class Ended(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code.name}: {text}")


class Context:
    """What grpc hands to a method."""

    def __init__(self, *metadata):
        self.metadata = metadata

    def invocation_metadata(self):
        return self.metadata

    def peer(self):
        return "test"

    def abort(self, code, text):
        raise Ended(code, text)


def environments(token=None, name=COUNTING, **options):
    given = list(options.items())
    return streams.Environments(lambda more: maker_of("gym", name, [*given, *more]), "gym:X", token, 8, serve.FLAGS)


def replies(requests, served=None, context=None):
    with contextlib.redirect_stderr(io.StringIO()):
        return list((served or environments()).run(iter(requests), context or Context()))


def hello(**fields):
    return pb.Request(hello=pb.Hello(**{"version": 1, "envs": 2, "seed": 7, **fields}))


def step(number, *actions):
    return pb.Request(step=pb.Step(number=number, actions=np.array(actions, np.int32).tobytes()))


RESET = pb.Request(reset=pb.Reset(number=1))


class Messages(unittest.TestCase):
    def test_the_module_is_that_of_the_file(self):
        text = (ROOT / "crates/impala-grpc/proto/impala_env.proto").read_text()
        lines = [line.split("//")[0].strip() for line in text.splitlines()]
        told, kind, one = {}, None, False
        for line in lines:
            one = "oneof" in line or one and line != "}"
            if found := re.match(r"(message|enum) (\w+)", line):
                kind = found[2]
            elif found := re.match(r"(?:(repeated )?(\w+) )?(\w+) = (\d+);", line):
                how = "one " if one else found[1] or ""
                told.setdefault(kind, []).append((int(found[4]), f"{how}{found[2]} {found[3]}" if found[2] else found[3]))
        ours = {name: list(enumerate(fields.split(", "), 1)) for name, fields in pb.MESSAGES.items()}
        ours |= {name: list(enumerate(values.split())) for name, values in pb.ENUMS.items()}
        self.assertEqual(told, ours)
        self.assertIn(f"package {pb.PACKAGE};", lines)
        self.assertEqual(pb.Step(number=300, actions=b"a").SerializeToString(), b"\x08\xac\x02\x12\x01a")


class Streams(unittest.TestCase):
    def test_steps_are_answered_in_turn(self):
        requests = [hello(arguments=[pb.Argument(key="length", value="2")]), RESET, step(2, 0, 1), step(3, 1, 1), step(4, 0, 0)]
        told = replies(requests)
        spec = told[0].spec
        self.assertEqual((spec.version, list(spec.shape), list(spec.sizes)), (1, [4], [2]))
        self.assertEqual((spec.dtype, spec.action, spec.name), (2, 1, "gym:X"))
        self.assertEqual([reply.observed.number for reply in told[1:]], [1, 2, 3, 4])
        self.assertEqual(told[1].observed.rewards, b"", "a reset has none")
        frames = [np.frombuffer(reply.observed.frames, np.float32).reshape(2, 4) for reply in told[1:]]
        self.assertEqual([frame[0, :2].tolist() for frame in frames], [[0, 1], [1, 1], [2, 1], [0, 2]])
        self.assertEqual([list(reply.observed.terminated) for reply in told[2:4]], [[0, 0], [1, 1]])
        self.assertEqual(np.frombuffer(told[3].observed.rewards, np.float32).tolist(), [2, 2])

    def test_bounds_and_masks_are_described(self):
        of = lambda **options: replies([hello(), RESET], environments(name="impala_test_envs:Spaces-v0", **options))
        hybrid = of(action="dict")[0].spec
        self.assertEqual((hybrid.action, list(hybrid.sizes), list(hybrid.low), list(hybrid.high)), (4, [3], [-2], [2]))
        spec, first = of(observation="masked", action="masked")
        self.assertTrue(spec.spec.masks)
        self.assertEqual(list(first.observed.masks), [0, 1, 1, 0, 1, 1])

    def test_actions_are_checked(self):
        for actions in [(0,), (0, 1, 1), (0, 2), (-1, 0)]:
            told = replies([hello(), RESET, step(2, *actions), step(3, 0, 1)])
            self.assertEqual(told[2].failure.number, 2, actions)
            self.assertIn("action", told[2].failure.reason)
            self.assertEqual(told[3].observed.number, 3, "the stream goes on")

    def test_faults_are_told_and_the_stream_goes_on(self):
        told = replies([hello(arguments=[pb.Argument(key="fault", value="raise"), pb.Argument(key="at", value="1")]), RESET, step(2, 0, 0), RESET])
        self.assertIn("out of cheese", told[2].failure.reason)
        self.assertEqual(told[3].WhichOneof("kind"), "observed")
        left = replies([hello(arguments=[pb.Argument(key="fault", value="exit"), pb.Argument(key="at", value="1")]), RESET, step(2, 0, 0), RESET])
        self.assertIn("SystemExit", left[2].failure.reason)
        self.assertEqual(len(left), 3, "what wants to leave is not stepped again")

    def test_what_cannot_be_made_is_one_line(self):
        for asked, part in [
            (hello(version=2), "version 2"),
            (hello(envs=0), "1 to 8"),
            (hello(envs=9), "1 to 8"),
            (hello(arguments=[pb.Argument(key="colour", value="red")]), "colour"),
        ]:
            (told,) = replies([asked, RESET])
            self.assertIn(part, told.unusable.problem)
            self.assertNotIn("\n", told.unusable.problem)

    def test_a_trial_finds_what_is_broken(self):
        (told,) = replies([hello(trial=True, arguments=[pb.Argument(key="fault", value="shape"), pb.Argument(key="at", value="3")])])
        self.assertIn("shape", told.unusable.problem)
        self.assertTrue(replies([hello(trial=True)])[0].HasField("spec"))

    def test_the_order_is_kept(self):
        for requests in [[RESET], [hello(), hello()], [pb.Request()]]:
            with self.assertRaisesRegex(Ended, "FAILED_PRECONDITION"):
                replies(requests)

    def test_a_token_is_asked_for(self):
        served = environments(token=b"abc")
        for metadata in [(), (("authorization", "Bearer abd"),), (("authorization", "abc"),), (("authorization", "Bearer ä"),)]:
            with self.assertRaisesRegex(Ended, "UNAUTHENTICATED"):
                replies([hello()], served, Context(*metadata))
        self.assertEqual(len(replies([hello()], served, Context(("authorization", "Bearer abc")))), 1)


class Listening(unittest.TestCase):
    def test_only_this_machine_is_loopback(self):
        for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"]:
            self.assertTrue(serve.is_loopback(host), host)
        for host in ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", ""]:
            self.assertFalse(serve.is_loopback(host), host)
        self.assertEqual(serve.host_of("[::1]:80"), "::1")

    def test_tokens_are_one_word(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "token")
            path.write_bytes(b"abc\n")
            self.assertEqual(serve.token_of(path), b"abc")
            for wrong in [b"", b"\n", b"two words", b"\xff", b"x" * 5000]:
                path.write_bytes(wrong)
                with self.assertRaisesRegex(Unusable, "holds no token"):
                    serve.token_of(path)

    @unittest.skipUnless(shutil.which("openssl"), "there is no openssl to make certificates with")
    def test_a_key_must_be_that_of_the_certificate(self):
        self.assertIsNone(serve.identity_of(None, None))
        with self.assertRaisesRegex(Unusable, "go together"):
            serve.identity_of("cert", None)
        with tempfile.TemporaryDirectory() as folder:
            path = lambda name: str(pathlib.Path(folder, name))
            openssl = lambda *arguments: subprocess.run(["openssl", *arguments], check=True, capture_output=True)
            for name in ["one", "other"]:
                made = ["-keyout", path(f"{name}.key"), "-out", path(f"{name}.pem")]
                openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x", *made)
            openssl("pkey", "-in", path("one.key"), "-aes256", "-passout", "pass:x", "-out", path("secret.key"))
            pathlib.Path(path("cut.pem")).write_text("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n")
            key, cert = serve.identity_of(path("one.pem"), path("one.key"))
            self.assertIn(b"PRIVATE KEY", key)
            self.assertIn(b"CERTIFICATE", cert)
            for cert, key, part in [
                ("one.pem", "other.key", "is not the key of"),
                ("none.pem", "one.key", "No such file"),
                ("one.pem", "none.key", "No such file"),
                ("one.key", "one.key", "holds no certificate"),
                ("one.pem", "one.pem", "holds no private key"),
                ("one.pem", "secret.key", "passphrase"),
                ("cut.pem", "one.key", "cannot be used"),
            ]:
                with self.assertRaisesRegex(Unusable, part) as caught:
                    serve.identity_of(path(cert), path(key))
                self.assertNotIn("\n", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
