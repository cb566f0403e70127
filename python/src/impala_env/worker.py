"""The worker: a process that steps environments for one actor. `docs/environment-abi.md` has the messages.

It is started by `boot.py`, which has taken the socket to the actor from standard input and made sure that
the kernel kills this process when the actor dies, even inside a step that hangs.
"""

import json
import mmap
import os
import signal
import socket
import struct
import sys

from . import ABI
from .errors import EnvFault, Unusable, described

SCRATCH, RING = 0, 1
MAP, RESET, STEP = 1, 2, 3
COMMAND = struct.Struct("<II5Q")
"""Operation, argument, and five addresses: frames, rewards, flags, masks, actions. For MAP the argument is
the region and the first address its length."""
OK = struct.pack("<I", 0)
FAILED = struct.pack("<I", 1)
PACKET_BYTES = 65_536
"""Longest packet in either direction."""

_OFFSET = (1 << 56) - 1
_MAX_VIEWS = 1 << 16


def main(channel):
    """Serves the actor at the other end of `channel` until it hangs up, and leaves the process."""
    # The terminal's; the supervisor says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 0
    try:
        Worker(channel).serve()
    except (BrokenPipeError, ConnectionResetError):
        pass
    except BaseException as error:
        # A fault of this program, or an environment that wants to leave.
        code = 1
        _send(channel, FAILED + f"its worker failed\n{described(error)}".encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads of environments must not keep a worker alive.
        os._exit(code)


def _send(channel, packet):
    channel.send(packet[:PACKET_BYTES])


class Worker:
    def __init__(self, channel):
        self.channel = channel
        self.batch = None
        self.regions = {}
        self.views = {}

    def serve(self):
        if not self._begin():
            return
        channel, views = self.channel, self.views
        batch = self.batch
        while command := channel.recv(COMMAND.size):
            try:
                # The command itself is the key: a step that writes where one before it wrote finds its
                # arrays made.
                found = views.get(command) or self._views(command)
                if found[0] == STEP:
                    batch.step(*found[1])
                elif found[0] == RESET:
                    batch.reset(*found[1])
            except EnvFault as fault:
                _send(channel, FAILED + str(fault).encode())
            else:
                channel.send(OK)
        batch.close()

    def _begin(self):
        """Makes the environments that the first packet describes and answers what they look like."""
        request = self.channel.recv(PACKET_BYTES)
        if not request:
            return False
        request = json.loads(request)
        try:
            if request["abi"] != ABI:
                raise Unusable(f"the actor speaks version {request['abi']} of the messages, the worker {ABI}")
            self.batch = _made(request)
            answer = {"abi": ABI, **self.batch.describe()}
        except Unusable as refusal:
            answer = {"abi": ABI, "unusable": str(refusal)}
        except EnvFault as fault:
            answer = {"abi": ABI, "failed": str(fault)}
        except Exception as error:
            answer = {"abi": ABI, "failed": f"it cannot be made\n{described(error)}"}
        _send(self.channel, json.dumps(answer).encode())
        return "unusable" not in answer and "failed" not in answer

    def _map(self, region, length):
        _, descriptors, _, _ = socket.recv_fds(self.channel, 1, 1)
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

        frames, rewards, flags, masks, words = addresses
        frames = observation.view(array(frames, observation.numpy, envs, *observation.shape))
        masks = array(masks, np.uint8, envs, action.outputs) if batch.masks else None
        if operation == RESET:
            found = (RESET, (frames, masks))
        else:
            found = (
                STEP,
                (
                    action.view(array(words, action.numpy, envs, action.words)),
                    frames,
                    array(rewards, np.float32, envs),
                    array(flags, np.uint8, envs),
                    masks,
                ),
            )
        if len(self.views) >= _MAX_VIEWS:
            self.views.clear()
        self.views[command] = found
        return found


def _made(request):
    from .making import Maker, gymnasium_or_say

    gymnasium_or_say()
    from .batch import make

    sys.path[:0] = request["path"]
    maker = Maker(request["env"], request["options"], request["wrapper"])
    return make(maker, request["envs"], request["seed"])
