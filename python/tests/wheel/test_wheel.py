"""Builds the wheel, installs it into a fresh virtual environment, and runs the tests in `installed/` there.

Needs maturin in the Python that runs the tests, and an index or a cache with numpy and gymnasium; without them it is skipped, and says so.
IMPALA_TEST_WHEEL names a wheel to test in place of one that is built, IMPALA_TEST_TORCH a folder of site-packages with optional packages, such
as torch, whose tests are skipped without.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MOST_BYTES = 15 << 20
"""Of a wheel as it is published."""
MOST_BYTES_CHECKED = 25 << 20
"""Of one that is built here, with assertions and what unwinding needs."""


def built(folder):
    """The wheel, in the profile in which `make check` has compiled nearly all of it."""
    environment = {**os.environ, "IMPALA_WHEEL_PROFILE": "checked"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True, env=environment)
    return next(Path(folder).glob("impala_rl-*.whl"))


class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        wheel = os.environ.get("IMPALA_TEST_WHEEL")
        if not wheel and importlib.util.find_spec("maturin") is None:
            raise unittest.SkipTest("the wheel is not tested: there is no maturin; `make test-python` installs it")
        cls.wheel = Path(wheel) if wheel else built(cls.folder.name)
        place = Path(cls.folder.name) / "venv"
        venv.create(place, with_pip=True)
        cls.python = place / "bin" / "python"
        pip = [cls.python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", cls.wheel], check=True)
        dependencies = subprocess.run([*pip, cls.wheel], capture_output=True, text=True)
        if dependencies.returncode != 0:
            raise unittest.SkipTest(f"the wheel is not tested: its dependencies cannot be installed: {dependencies.stderr[-300:]}")
        if others := os.environ.get("IMPALA_TEST_TORCH"):
            # Behind its own packages on the path.
            site = next((place / "lib").glob("python3*/site-packages"))
            (site / "others.pth").write_text(others + "\n")

    def run_in(self, command, **options):
        # As a user has it: only what lies in the environment is on the path, and nothing of the repository is.
        environment = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment["PATH"] = os.pathsep.join([str(self.python.parent), "/usr/bin", "/bin"])
        environment["IMPALA_REPOSITORY"] = str(ROOT)
        return subprocess.run(command, env=environment, cwd=self.folder.name, timeout=600, **options)

    def test_a_it_is_small_and_holds_what_it_should(self):
        most_bytes = MOST_BYTES if os.environ.get("IMPALA_TEST_WHEEL") else MOST_BYTES_CHECKED
        self.assertLess(self.wheel.stat().st_size, most_bytes)
        with zipfile.ZipFile(self.wheel) as archive:
            names = archive.namelist()
            metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
        required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
        self.assertEqual(len(required), 2, required)
        for part in ("impala_rl/py.typed", "impala_rl/_native.pyi", "impala_env/worker.py"):
            self.assertIn(part, names)
        for licence in ("LICENSE-MIT", "LICENSE-APACHE"):
            self.assertTrue(any(name.endswith(licence) for name in names), licence)

    def test_b_its_programs_are_on_the_path(self):
        for name in ("supervisor", "report", "top", "play", "sweep", "export", "bench"):
            done = self.run_in([f"impala-{name}", "--version"], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout.split()[0]), (0, f"impala-{name}"), done.stderr)
        command = "impala-supervisor --actors 4 --stop-at-return 475 --quiet --run-dir solved"
        done = self.run_in(command.split(), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("solved", done.stdout)
        # The Python beside the program has gymnasium; nothing says which Python to take.
        command = "impala-supervisor --actors 2 --env gym:CartPole-v1 --total-frames 4000 --quiet --run-dir by-python"
        done = self.run_in(command.split(), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_c_its_own_tests_pass(self):
        done = self.run_in([self.python, "-m", "unittest", "discover", "-s", ROOT / "python/tests/installed"])
        self.assertEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
