"""A server of environments that keeps to the protocol for a while: `impala_bad_server.py FAULT`."""

import sys
from concurrent import futures

import grpc

from impala_env import messages as pb

FAULT = sys.argv[1]
AT = 200
"""The request in which it happens, of each stream that has more than one environment."""


def spec():
    told = pb.Spec(version=1, dtype=2, shape=[4], action=1, sizes=[2])
    if FAULT == "version":
        told.version = 9
    if FAULT == "huge":
        told.shape[:] = [1 << 20, 1 << 20]
    if FAULT == "no-actions":
        told.sizes[:] = []
    return pb.Reply(spec=told)


def run(requests, context):
    envs = 0
    for raw in requests:
        request = pb.Request.FromString(raw)
        kind = request.WhichOneof("kind")
        if kind == "hello":
            envs = request.hello.envs
            if FAULT == "observed-first":
                yield pb.Reply(observed=pb.Observed(number=1)).SerializeToString()
            elif FAULT == "garbage-first":
                yield b"\xff\xff\xff\xff"
            else:
                yield spec().SerializeToString()
            continue
        number = getattr(request, kind).number
        told = pb.Observed(number=number, frames=bytes(16 * envs))
        if kind == "step":
            told.rewards, told.terminated, told.truncated = bytes(4 * envs), bytes(envs), bytes(envs)
        fault = FAULT if number == AT and envs > 1 else ""
        if fault == "late":
            told.number -= 1
        if fault == "short":
            told.frames = told.frames[1:]
        if fault == "no-ends":
            told.terminated = b""
        if fault == "nan":
            told.frames = b"\0\0\xc0\x7f" * (4 * envs)
        reply = pb.Reply(observed=told)
        if fault == "nothing":
            reply = pb.Reply()
        if fault == "spec-again":
            reply = spec()
        yield b"\xff\xff\xff\xff" if fault == "garbage" else reply.SerializeToString()


handler = grpc.stream_stream_rpc_method_handler(run)
server = grpc.server(
    futures.ThreadPoolExecutor(8),
    handlers=[grpc.method_handlers_generic_handler("impala.env.v1.Environments", {"Run": handler})],
)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"a bad server at 127.0.0.1:{port}", flush=True)
server.wait_for_termination()
