"""Streams of a server: each steps environments of its own for one actor. `crates/impala-grpc/proto/impala_env.proto` has
the messages and what they mean."""

import hmac
import sys
import threading

import grpc
import numpy as np

from . import messages as pb
from .batch import make
from .errors import EnvFault, Unusable, described, put, summary
from .trying import tried

VERSION = 1
"""Of the protocol."""

SERVICE = f"{pb.PACKAGE}.Environments"


class Environments:
    """The service.

    maker: called with the options that a stream asks for, gives what makes the environments; name: of them, for people;
    token: bytes that every stream must show, or None; most_envs: of one stream; flags: how remedies name settings.
    """

    def __init__(self, maker, name, token, most_envs, flags):
        self.maker, self.name, self.token, self.most_envs, self.flags = maker, name, token, most_envs, flags
        # Neither imports nor the registries of packages are made for several threads.
        self.making = threading.Lock()

    def handler(self):
        """What grpc calls."""
        run = grpc.stream_stream_rpc_method_handler(self.run, pb.Request.FromString, pb.Reply.SerializeToString)
        return grpc.method_handlers_generic_handler(SERVICE, {"Run": run})

    def run(self, requests, context):
        self._admit(context)
        stream, peer = None, context.peer()
        try:
            for request in requests:
                kind = request.WhichOneof("kind")
                if stream is None:
                    if kind != "hello":
                        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a stream begins with a hello")
                    stream, reply = self._begun(request.hello)
                    if stream is not None:
                        _print(f"{peer}: {request.hello.envs} environments")
                    yield reply
                    if stream is None:
                        return
                elif kind not in ("reset", "step"):
                    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "after a hello come resets and steps")
                else:
                    yield stream.answer(kind, getattr(request, kind))
                    if stream.broken:
                        return
        except grpc.RpcError:
            # The other end is gone.
            pass
        finally:
            if stream is not None:
                stream.close()
                _print(f"{peer}: gone")

    def _admit(self, context):
        if self.token is None:
            return
        given = dict(context.invocation_metadata()).get("authorization", "")
        # In a time that does not tell how much of it was right.
        if not hmac.compare_digest(given.encode(), b"Bearer " + self.token):
            what = "it is not the one of this server" if given else "this server wants one"
            context.abort(grpc.StatusCode.UNAUTHENTICATED, what)

    def _begun(self, hello):
        """A stream, or None, and what is answered."""
        try:
            if hello.version != VERSION:
                raise Unusable(f"the client speaks version {hello.version} of the protocol, this server {VERSION}")
            if not 1 <= hello.envs <= self.most_envs:
                raise Unusable(f"{hello.envs} environments are asked for, and this server makes 1 to {self.most_envs}")
            with self.making:
                maker = self.maker([(argument.key, argument.value) for argument in hello.arguments])
                batch = make(maker, hello.envs, hello.seed)
            notes = [*maker.notes, *(tried(batch) if hello.trial else [])]
            return Stream(batch), pb.Reply(spec=_spec(batch, self.name, notes))
        except Unusable as refusal:
            return None, _unusable(str(refusal), put(refusal.remedy, self.flags).removeprefix("; "))
        except EnvFault as fault:
            _print(str(fault))
            if hello.trial:
                return None, _unusable(fault.line, put(fault.remedy, self.flags).removeprefix("; "))
            return None, pb.Reply(failure=pb.Failure(reason=str(fault)))
        except BaseException as error:
            # An environment that wants to leave the process among them.
            _print(described(error))
            if hello.trial:
                return None, _unusable(f"it raised {summary(error)}", "the server has the traceback")
            return None, pb.Reply(failure=pb.Failure(reason=f"it cannot be made\n{described(error)}"))


class Stream:
    """E environments, and the arrays that they write."""

    def __init__(self, batch):
        envs, action = batch.envs, batch.action
        self.batch = batch
        self.frames = np.zeros((envs, *batch.observation.shape), batch.observation.numpy)
        self.seen = batch.observation.view(self.frames)
        self.rewards, self.ends = np.zeros(envs, np.float32), np.zeros((2, envs), np.uint8)
        self.masks = np.ones((envs, action.logits), np.uint8) if batch.masks else None
        self.shape, self.sizes = (envs, action.words), np.array(action.sizes, np.uint32)
        self.broken = False

    def answer(self, kind, asked):
        """A reply to a reset or a step."""
        try:
            if kind == "step":
                self._step(asked.actions)
                told = dict(
                    rewards=self.rewards.tobytes(), terminated=self.ends[0].tobytes(), truncated=self.ends[1].tobytes()
                )
            else:
                self.batch.reset(self.seen, self.masks)
                told = {}
        except EnvFault as fault:
            _print(str(fault))
            return pb.Reply(failure=pb.Failure(number=asked.number, reason=str(fault)))
        except BaseException as error:
            # A fault of this program, or an environment that wants to leave: other streams go on.
            self.broken = True
            _print(described(error))
            return pb.Reply(failure=pb.Failure(number=asked.number, reason=f"its server failed\n{described(error)}"))
        if self.masks is not None:
            told["masks"] = self.masks.tobytes()
        return pb.Reply(observed=pb.Observed(number=asked.number, frames=self.frames.tobytes(), **told))

    def _step(self, actions):
        (envs, words), action = self.shape, self.batch.action
        if len(actions) != 4 * envs * words:
            raise EnvFault(f"a step came with {len(actions)} bytes of actions, and {envs} environments have {4 * envs * words}")
        choices = np.frombuffer(actions, np.uint32).reshape(envs, words)[:, : len(self.sizes)]
        # What is negative is huge here.
        if not (choices < self.sizes).all():
            raise EnvFault(f"an action is out of range: {choices.max(axis=0).tolist()}, where {self.sizes.tolist()} choices exist")
        acted = np.frombuffer(actions, action.numpy).reshape(envs, words)
        self.batch.step(action.view(acted), self.seen, self.rewards, *self.ends, self.masks)

    def close(self):
        try:
            self.batch.close()
        except Exception as error:
            _print(described(error))


def _spec(batch, name, notes):
    observation, action = batch.describe()["observation"], batch.action
    return pb.Spec(
        version=VERSION,
        dtype=pb.value("Dtype", observation["dtype"].upper()),
        shape=observation["shape"],
        action=pb.value("ActionKind", action.kind.upper()),
        sizes=action.sizes,
        low=action.low.tolist(),
        high=action.high.tolist(),
        masks=bool(batch.masks),
        name=name,
        notes=notes,
    )


def _unusable(problem, remedy):
    return pb.Reply(unusable=pb.Unusable(problem=problem, remedy=remedy))


def _print(text):
    print(text, file=sys.stderr, flush=True)
