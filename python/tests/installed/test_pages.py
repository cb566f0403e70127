"""The code of the pages, run as it is read.

Blocks of a page run one after the other in one folder, those of Python in one program: later ones use what earlier ones made. The first
line of a block may say what is special about it:

    # not run: WHY       it is left out
    # needs PACKAGE      left out where the package is missing, which is printed
    # file: NAME         it is saved under this name
"""

import importlib.util
import os
import re
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

from test_interface import InFolder

BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SHELL = """
import subprocess as _subprocess
def _sh(text):
    done = _subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, f"{text}: {done.stderr}"
"""


def program_of(page, languages, folder):
    """The page as one program of Python; what is left out, with the reason."""
    parts, left_out = [SHELL], []
    for language, code in BLOCK.findall(page):
        if language not in languages:
            continue
        first = code.split("\n", 1)[0]
        package = first.removeprefix("# needs ").strip() if first.startswith("# needs ") else None
        if package and importlib.util.find_spec(package) is None:
            left_out.append(f"{code.splitlines()[1]!r} ...: there is no {package} here")
        elif first.startswith("# file: "):
            (folder / first.removeprefix("# file: ").strip()).write_text(code)
        elif not first.startswith("# not run"):
            parts.append(code if language == "python" else f"_sh({code!r})\n")
    return "\n".join(parts), left_out


class Pages(InFolder):
    def page(self, name, languages=("python", "sh")):
        folder = Path(name.replace("/", "-"))
        folder.mkdir()
        text = (Path(os.environ["IMPALA_REPOSITORY"]) / name).read_text()
        program, left_out = program_of(text, languages, folder)
        for what in left_out:
            print(f"{name}: skipped {what}", file=sys.stderr)
        self.assertGreater(len(program), len(SHELL) + 100, name)
        # As a notebook or a prompt has it: modules of the current folder are found.
        done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, timeout=900, cwd=folder)
        self.assertEqual(done.returncode, 0, f"{name}: {done.stdout}{done.stderr}")
        return done.stdout

    def test_the_tutorial_runs(self):
        said = self.page("docs/tutorial.md")
        self.assertRegex(said, "slow: environment-bound")

    def test_the_page_on_python_runs(self):
        self.page("docs/python.md")

    def test_the_readme_runs(self):
        # Its other blocks fetch, build and train for minutes.
        self.page("README.md", languages=("python",))


class Blocks(InFolder):
    def test_blocks_are_told_apart(self):
        page = textwrap.dedent(
            """
            ```python
            x = 1
            ```
            ```rust
            no
            ```
            ```sh
            # not run: it takes long
            sleep 1000
            ```
            ```python
            # needs no_such_package
            import no_such_package
            ```
            ```python
            # file: y.py
            y = 2
            ```
            ```sh
            cat y.py
            ```
            """
        )
        program, left_out = program_of(page, ("python", "sh"), Path())
        self.assertEqual(program.removeprefix(SHELL).split(), ["x", "=", "1", "_sh('cat", "y.py\\n')"])
        self.assertEqual(len(left_out), 1)
        self.assertIn("there is no no_such_package", left_out[0])
        self.assertIn("y = 2", Path("y.py").read_text())


if __name__ == "__main__":
    unittest.main()
