"""From a name and options to environments."""

import ast
import importlib
import importlib.util
import warnings

from .errors import Unusable, one_line

ATARI = dict(
    stack_num=1,
    reward_clipping=False,
    num_threads=1,
    noop_max=30,
    frameskip=4,
    maxpool=True,
    grayscale=True,
    img_height=84,
    img_width=84,
    episodic_life=False,
    use_fire_reset=True,
    repeat_action_probability=0.0,
    full_action_space=False,
)
"""Preprocessing of `ALE/...`, beneath what the user asks for: single frames, for a stack is made where the
network is; rewards as they are, for the learner clips them."""


def literal(text):
    """The value of an option: a Python literal, `true`, `false`, or else the text."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def gymnasium_or_say():
    """gymnasium, with what it needs."""
    import sys

    for package in ("numpy", "gymnasium"):
        try:
            found = importlib.import_module(package)
        except ImportError as error:
            raise Unusable(
                f"{sys.executable} has no usable package {package} ({one_line(error)}): install it with "
                f"`{sys.executable} -m pip install {package}`, or name another Python with --python"
            ) from None
    if not hasattr(found, "make_vec"):
        raise Unusable(
            f"gymnasium {found.__version__} of {sys.executable} is too old; install version 1.0 or later"
        )
    return found


def _import(module, what):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unusable(
            f"{what} cannot be imported: {one_line(error)}; install it, or name its folder with --python-path"
        ) from None


def wrapper_of(path):
    """The function that `module:function` or `file.py:function` names."""
    module, _, name = path.rpartition(":")
    if not module or not name:
        raise Unusable(f"--env-wrapper {path} is no MODULE:FUNCTION")
    if module.endswith(".py"):
        spec = importlib.util.spec_from_file_location("impala_env_wrapper", module)
        found = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(found)
        except OSError as error:
            raise Unusable(f"--env-wrapper {path}: {one_line(error)}") from None
    else:
        found = _import(module, f"--env-wrapper {path}: its module")
    for part in name.split("."):
        if not hasattr(found, part):
            raise Unusable(f"--env-wrapper {path}: {module} has no {name}")
        found = getattr(found, part)
    if not callable(found):
        raise Unusable(f"--env-wrapper {path}: {name} is a {type(found).__name__} and no function")
    return found


class Maker:
    """Makes what `ID` or `module:ID` names, with the options of the user.

    vector: whether the environment's own vector implementation is used.
    """

    def __init__(self, name, options=(), wrapper=None, check=False):
        self.gymnasium = gymnasium_or_say()
        module, _, self.id = name.rpartition(":")
        self.options = {key: literal(value) for key, value in options}
        self.wrapper = wrapper_of(wrapper) if wrapper else None
        self.check = check
        if module:
            _import(module, f"module {module}")
        atari = self.id.startswith("ALE/")
        if atari:
            package = _import("ale_py", "package ale_py (`pip install ale-py`)")
            self.gymnasium.register_envs(package)
        spec = self._spec()
        mode = self.options.pop("vectorization_mode", None)
        self.vector = (
            spec.vector_entry_point is not None
            and mode in (None, "vector_entry_point")
            and (spec.entry_point is None or not (self.wrapper or spec.additional_wrappers))
        )
        if self.wrapper and self.vector:
            raise Unusable(f"{self.id} exists as a vector environment only, which takes no --env-wrapper")
        if atari and self.vector:
            self.options = ATARI | self.options

    def _spec(self):
        error = self.gymnasium.error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                # Finds names without a version as well.
                return self.gymnasium.envs.registration._find_spec(self.id)
            except error.Error as refusal:
                raise Unusable(one_line(refusal)) from None

    def _made(self, make):
        error = self.gymnasium.error
        try:
            return make()
        except error.DependencyNotInstalled as refusal:
            raise Unusable(one_line(refusal)) from None
        except ModuleNotFoundError as missing:
            raise Unusable(f"it needs a package that is not installed: {one_line(missing)}") from None
        except error.Error as refusal:
            raise Unusable(one_line(refusal)) from None
        except TypeError as wrong:
            if "unexpected keyword argument" in str(wrong):
                raise Unusable(f"--env-arg: {one_line(wrong)}") from None
            raise

    def one(self):
        """One environment, wrapped."""
        options = self.options
        if not self.check:
            options = {"disable_env_checker": True, **options}
        env = self._made(lambda: self.gymnasium.make(self.id, **options))
        return self.wrapper(env) if self.wrapper else env

    def many(self, count):
        """`count` environments that step together, of their own vector implementation."""
        return self._made(
            lambda: self.gymnasium.make_vec(
                self.id, num_envs=count, vectorization_mode="vector_entry_point", **self.options
            )
        )
