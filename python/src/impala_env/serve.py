"""Serves environments to actors on this or other machines: `python -m impala_env.serve gym:ID --listen 127.0.0.1:50051`.

Every stream of an actor gets environments of its own. Stopped by SIGINT or SIGTERM. The exit code is 0 after that, 1 if the
environment failed at the start, and 2 if it cannot be served as it was asked for.
"""

import argparse
import ipaddress
import os
import signal
import sys
import threading
from concurrent import futures

from . import check
from .check import add_environment, asked_for, told
from .errors import Unusable, one_line

FLAGS = {**check.FLAGS, "envs": "--most-envs", "seed": "the seed of the run"}
"""How the settings that remedies name are given to this program."""

MESSAGE_BYTES = 64 << 20
"""Longest message that a client may send: actions are small."""


def main(argv=None):
    parser = argparse.ArgumentParser("python -m impala_env.serve", description=__doc__.splitlines()[0])
    parser.add_argument("env", metavar="ID", help="gym:CartPole-v1, gym:module:ID for a package that registers on import, or envpool:ID")
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:50051", help="port 0 takes one that is free [%(default)s]")
    parser.add_argument("--token-file", metavar="FILE", help="its content is asked of every client")
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate of this server (PEM), followed by those of its signers; clients write grpcs://")
    parser.add_argument("--tls-key", metavar="FILE", help="its key (PEM, without a passphrase)")
    parser.add_argument("--insecure", action="store_true", help="listen to other machines without a token")
    parser.add_argument("--env-arg", metavar="KEY=VALUE", action="append", default=[], help="option of the environment; those of a client come on top")
    add_environment(parser)
    parser.add_argument("--streams", metavar="N", type=int, default=64, help="actors that may be served at a time [%(default)s]")
    parser.add_argument("--most-envs", metavar="E", type=int, default=4096, help="environments of one actor [%(default)s]")
    args = parser.parse_args(argv)
    sys.path.insert(0, "")
    # Before numpy and grpc are there: one thread each for numerical libraries, and no log of grpc's own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        serve(args)
    except Exception as error:
        return told(args.env, error, FLAGS)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of environments must not keep the process.
    os._exit(0)


def serve(args):
    """Serves until a signal comes."""
    host = host_of(args.listen)
    token = token_of(args.token_file)
    identity = identity_of(args.tls_cert, args.tls_key)
    if token is None and not args.insecure and not is_loopback(host):
        raise Unusable(
            f"anybody who reaches {args.listen} could step environments here",
            "give a token with --token-file FILE, or say --insecure if the network is your own",
        )
    if args.streams < 1 or args.most_envs < 1:
        raise Unusable("--streams and --most-envs are at least 1")
    grpc, streams = packages()
    server = grpc.server(
        futures.ThreadPoolExecutor(args.streams),
        handlers=[streams.Environments(checked_maker(args), args.env, token, args.most_envs, FLAGS).handler()],
        maximum_concurrent_rpcs=args.streams,
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            # A client whose machine is gone frees its stream.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        ],
    )
    try:
        if identity is None:
            port = server.add_insecure_port(args.listen)
        else:
            port = server.add_secure_port(args.listen, grpc.ssl_server_credentials([identity]))
    except RuntimeError as error:
        raise Unusable(f"it cannot listen at {args.listen}: {one_line(error)}") from None
    if port == 0:
        raise Unusable(f"it cannot listen at {args.listen}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    server.start()
    print(f"serving {args.env} {'with TLS ' if identity else ''}at {args.listen.rpartition(':')[0]}:{port}", flush=True)
    stopped.wait()
    server.stop(None).wait(2)


def packages():
    """grpc, and the streams that need it."""
    try:
        import google.protobuf  # noqa: F401
        import grpc
    except ImportError as error:
        raise Unusable(
            f"{sys.executable} lacks what a server needs ({one_line(error)})",
            f"install it with `{sys.executable} -m pip install grpcio protobuf`",
        ) from None
    from .making import gymnasium_or_say

    gymnasium_or_say()
    from . import streams

    return grpc, streams


def checked_maker(args):
    """What makes environments with the options of a stream, once one was made and tried."""
    from .batch import make
    from .making import maker_of
    from .trying import tried

    source, name, options, keys = asked_for(args)

    def maker(more):
        return maker_of(source, name, [*options, *more], args.wrapper, keys=keys)

    batch = make(maker([]), 1, 0)
    for line in tried(batch):
        print(f"{args.env}: {line}", file=sys.stderr)
    batch.close()
    return maker


def host_of(listen):
    """The host of `HOST:PORT`."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise Unusable(f"--listen {listen}: write it as HOST:PORT, such as 127.0.0.1:50051")
    return host.removeprefix("[").removesuffix("]")


def is_loopback(host):
    """Whether only this machine can reach it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_of(path):
    """What clients must show, None without a file."""
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            token = file.read(4097).strip()
    except OSError as error:
        raise Unusable(f"--token-file {path}: {one_line(error.strerror)}") from None
    if not token or len(token) > 4096 or not all(33 <= byte <= 126 for byte in token):
        raise Unusable(f"--token-file {path} holds no token: write a line of letters and digits, of `openssl rand -hex 32` for example")
    return token


def identity_of(cert, key):
    """Key and certificate that clients are shown, None without files."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise Unusable("--tls-cert FILE and --tls-key FILE go together: give both, or none")
    import ssl

    contents = []
    for flag, path, what in [("--tls-key", key, "PRIVATE KEY"), ("--tls-cert", cert, "CERTIFICATE")]:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise Unusable(f"{flag} {path}: {one_line(error.strerror)}") from None
        if f"{what}-----".encode() not in content:
            raise Unusable(f"{flag} {path} holds no {what.lower()} in PEM")
        contents.append(content)
    # grpc says but that it failed.
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Unusable(f"--tls-key {key} is not the key of the certificate in --tls-cert {cert}") from None
        raise Unusable(f"--tls-cert {cert} and --tls-key {key} cannot be used: {one_line(error.reason or error)}") from None
    except _Passphrase:
        raise Unusable(
            f"--tls-key {key} has a passphrase, and nobody to ask for it",
            "write it without one, with `openssl pkey` for example",
        ) from None
    return tuple(contents)


class _Passphrase(Exception):
    pass


def _no_passphrase():
    raise _Passphrase


if __name__ == "__main__":
    sys.exit(main())
