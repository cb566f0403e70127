"""Steps Gymnasium environments in shared memory, as `docs/environment-abi.md` describes.

`impala-supervisor` carries this package within itself; install it only for `python -m impala_env.check`.
"""

ABI = 3
"""Version of the messages between an actor and its worker."""

__version__ = "0.1.0"
