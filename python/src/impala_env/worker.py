"""The worker: a process that steps environments for one actor. `docs/environment-abi.md` has the messages.

It is started by `boot.py`, which has taken the socket to the actor from standard input and made sure that
the kernel kills this process when the actor dies, even inside a step that hangs.
"""

import json
import mmap
import os
import shlex
import signal
import socket
import struct
import sys

from . import ABI
from .errors import EnvFault, Setting, Unusable, described, summary

SCRATCH, RING = 0, 1
MAP, RESET, STEP = 1, 2, 3
COMMAND = struct.Struct("<II5Q")
"""Operation, argument, and five addresses: frames, rewards, ends, masks, actions. For MAP the argument is
the region and the first address its length."""
DONE = struct.pack("<I", 0)
FAILED = struct.pack("<I", 1)
PACKET_BYTES = 65_536
"""Longest packet of the socket in either direction."""

_OFFSET = (1 << 56) - 1
_MAX_VIEWS = 1 << 16


def main(channel):
    """Serves the actor at the other end of `channel` until it hangs up, and leaves the process."""
    # The terminal's; the supervisor says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 0
    try:
        worker = Worker.begun(channel)
        if worker:
            worker.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass
    except BaseException as error:
        # A fault of this program: the actor shows what was printed last.
        code = 1
        print(described(error), file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads of environments must not keep a worker alive.
        os._exit(code)


class Worker:
    """A batch of environments, and the ways to the actor: `channel` for texts and descriptors, `commands`
    and `answers` are pipes."""

    def __init__(self, channel, commands, answers, batch):
        self.channel, self.commands, self.answers = channel, commands, answers
        self.batch = batch
        self.regions = {}
        self.views = {}

    @classmethod
    def begun(cls, channel):
        """Makes the environments that the first packet describes and answers what they look like. None if
        there is nothing to serve."""
        request, pipes, _, _ = socket.recv_fds(channel, PACKET_BYTES, 2, socket.MSG_CMSG_CLOEXEC)
        if not request:
            return None
        _keep_from_forks(channel, list(pipes))
        request = json.loads(request)
        batch, trial = None, request.get("trial", False)
        try:
            if request["abi"] != ABI:
                raise Unusable(f"the actor speaks version {request['abi']} of the messages, the worker {ABI}")
            batch, name, notes = _made(request)
            if trial:
                from .trying import tried

                notes += tried(batch)
            answer = batch.describe()
            if trial:
                answer |= {"id": name, "notes": notes}
        except Unusable as refusal:
            answer = {"unusable": str(refusal), "remedy": _as_json(refusal.remedy)}
        except EnvFault as fault:
            answer = {"failed": str(fault)}
            if trial:
                remedy = [*fault.remedy, "; "] if fault.remedy else []
                answer = {"unusable": fault.line, "remedy": _as_json([*remedy, _where_more(request)])}
            _print(str(fault))
        except BaseException as error:
            # An environment that wants to leave the process among them.
            answer = {"failed": f"it cannot be made\n{described(error)}"}
            if trial:
                answer = {"unusable": f"it raised {summary(error)}", "remedy": [_where_more(request)]}
            _print(described(error))
        _send(channel, json.dumps({"abi": ABI, **answer}))
        return cls(channel, *pipes, batch) if "action" in answer else None

    def serve(self):
        commands, answers, views, batch = self.commands, self.answers, self.views, self.batch
        read, write = os.read, os.write
        while command := read(commands, COMMAND.size):
            try:
                # The command itself is the key: a step that writes where one before it wrote finds its
                # arrays made.
                operation, arrays = views.get(command) or self._views(command)
                if operation == STEP:
                    batch.step(*arrays)
                elif operation == RESET:
                    batch.reset(*arrays)
            except EnvFault as fault:
                self._failed(str(fault))
            except BaseException as error:
                # A fault of this program, or an environment that wants to leave.
                self._failed(f"its worker failed\n{described(error)}")
                raise
            else:
                write(answers, DONE)
        batch.close()

    def _failed(self, text):
        # The actor may show its end only.
        _print(text)
        _send(self.channel, text)
        os.write(self.answers, FAILED)

    def _map(self, region, length):
        _, descriptors, _, _ = socket.recv_fds(self.channel, 1, 1, socket.MSG_CMSG_CLOEXEC)
        try:
            memory = mmap.mmap(descriptors[0], length)
        finally:
            os.close(descriptors[0])
        # What an environment forks must not write here.
        memory.madvise(mmap.MADV_DONTFORK)
        self.regions[region] = memory
        self.views.clear()

    def _views(self, command):
        operation, argument, *addresses = COMMAND.unpack(command)
        if operation == MAP:
            self._map(argument, addresses[0])
            return (MAP, ())
        if operation not in (RESET, STEP):
            raise EnvFault(f"there is no operation {operation}")
        import numpy as np

        batch = self.batch
        envs, observation, action = batch.envs, batch.observation, batch.action

        def array(address, dtype, *shape):
            memory = self.regions[address >> 56]
            count = 1
            for length in shape:
                count *= length
            return np.frombuffer(memory, dtype, count, address & _OFFSET).reshape(shape)

        frames, rewards, ends, masks, words = addresses
        frames = observation.view(array(frames, observation.numpy, envs, *observation.shape))
        masks = array(masks, np.uint8, envs, action.logits) if batch.masks else None
        if operation == RESET:
            found = (RESET, (frames, masks))
        else:
            found = (
                STEP,
                (
                    action.view(array(words, action.numpy, envs, action.words)),
                    frames,
                    array(rewards, np.float32, envs),
                    *array(ends, np.uint8, 2, envs),
                    masks,
                ),
            )
        if len(self.views) >= _MAX_VIEWS:
            self.views.clear()
        self.views[command] = found
        return found


def _keep_from_forks(channel, pipes):
    """A process that an environment forks, and leaves behind, must not look to the actor like a living worker."""

    def close():
        channel.close()
        # Once: a child of the child may use the numbers for something else.
        while pipes:
            os.close(pipes.pop())

    os.register_at_fork(after_in_child=close)


def _send(channel, text):
    channel.send(text.encode()[:PACKET_BYTES])


def _print(text):
    print(text, file=sys.stderr, flush=True)


def _where_more(request):
    """How to see the whole traceback."""
    source = request.get("source", "gym")
    arguments = [request["env"] if source == "gym" else f"{source}:{request['env']}"]
    for key, value in request["options"]:
        arguments += ["--env-arg", f"{key}={value}"]
    if request["wrapper"]:
        arguments += ["--wrapper", request["wrapper"]]
    return f"`python -m impala_env.check {shlex.join(arguments)}` tells more"


def _as_json(remedy):
    """Texts, and `{NAME: VALUE}` for a setting."""
    return [{part.name: part.value} if isinstance(part, Setting) else part for part in remedy]


def _made(request):
    """The environments, the name that their source knows them by, and what is to be said of them."""
    from .making import maker_of

    sys.path[:0] = request["path"]
    source = request.get("source", "gym")
    maker = maker_of(source, request["env"], request["options"], request["wrapper"], keys=request.get("keys"))
    from .batch import make

    batch = make(maker, request["envs"], request["seed"])
    return batch, f"{maker.module}:{maker.id}" if maker.module else maker.id, maker.notes
