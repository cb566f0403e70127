# Given to `python -c`, with the process id of the actor: takes the modules of this package out of the
# socket that is standard input, one packet each (its name, a zero byte, its text), an empty name last, and
# runs the worker. So a Python needs nothing installed but what the environment needs.
import os, sys, ctypes
kernel = ctypes.CDLL(None)
# PR_SET_PDEATHSIG, SIGKILL; then it is seen whether the actor was still there. PR_SET_NAME for ps and top.
kernel.prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(0)
kernel.prctl(15, b"impala-worker")
import importlib.abc, importlib.util, socket


class Sent(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def __init__(self):
        self.texts = {}

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self, origin="sent by impala") if name in self.texts else None

    def is_package(self, name):
        return "." not in name

    def get_source(self, name):
        return self.texts[name]

    def get_code(self, name):
        return compile(self.texts[name], f"<{name}>", "exec")


channel = socket.socket(fileno=os.dup(0))
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
os.close(null)
sent = Sent()
while True:
    name, _, text = channel.recv(1 << 20).decode().partition("\0")
    if not name:
        break
    sent.texts[name] = text
sys.meta_path.insert(0, sent)
sys.argv = ["impala-env-worker"]
from impala_env.worker import main

main(channel)
