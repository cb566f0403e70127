"""From a name and options to environments."""

import ast
import importlib
import importlib.util
import re
import sys
import warnings

from .errors import Setting, Unusable, one_line, summary
from .naming import how_to_install, instead, latest

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

ATARI_PLAIN = ("frameskip", "repeat_action_probability", "full_action_space")
"""Those of them that a single environment has, whose observations are not preprocessed."""


SOURCES = ("gym", "envpool")
"""Where environments come from; `gym:` and `envpool:` before a name."""


def literal(text):
    """The value of an option: a Python literal, `true`, `false`, or else the text."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def package_or_say(*packages):
    """The last of these packages; what is not there is one line with its remedy."""
    for package in packages:
        try:
            found = importlib.import_module(package)
        except ImportError as error:
            raise Unusable(
                f"{sys.executable} has no usable package {package} ({one_line(error)})",
                f"install it with `{sys.executable} -m pip install {package}`, or name another Python with ",
                Setting("python"),
            ) from None
    return found


def gymnasium_or_say():
    """gymnasium, with what it needs."""
    found = package_or_say("numpy", "gymnasium")
    if not hasattr(found, "make_vec"):
        raise Unusable(
            f"gymnasium {found.__version__} of {sys.executable} is too old; install version 1.0 or later"
        )
    return found


def maker_of(source, *arguments, **options):
    """What makes environments of `source`, one of `SOURCES`; arguments as `Maker` has them."""
    if source == "gym":
        return Maker(*arguments, **options)
    if source != "envpool":
        raise Unusable(f"the worker knows no source of environments {source!r}")
    # What it needs first is envpool, which brings the rest.
    package_or_say("envpool")
    gymnasium_or_say()
    from .pools import PoolMaker

    return PoolMaker(*arguments, **options)


def import_or_say(module, what):
    """A module that the user named."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = getattr(error, "name", None) or ""
        install = how_to_install(missing) if module == missing or module.startswith(f"{missing}.") else None
        raise Unusable(
            f"{what} cannot be imported: {one_line(error)}",
            f"{install or 'install it'}, or name its folder with ",
            Setting("path"),
        ) from None
    except (Exception, SystemExit) as error:
        raise Unusable(f"{what} cannot be imported: {summary(error)}; mend what it does at import") from None


def wrapper_of(path):
    """The function that `module:function` or `file.py:function` names."""
    module, _, name = path.rpartition(":")
    if not module or not name:
        raise Unusable(f"wrapper {path} is not written as MODULE:FUNCTION")
    if module.endswith(".py"):
        spec = importlib.util.spec_from_file_location("impala_env_wrapper", module)
        found = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(found)
        except OSError as error:
            raise Unusable(f"wrapper {path}: {one_line(error)}") from None
        except (Exception, SystemExit) as error:
            raise Unusable(f"wrapper {path}: its module cannot be imported: {summary(error)}") from None
    else:
        found = import_or_say(module, f"wrapper {path}: its module")
    for part in name.split("."):
        if not hasattr(found, part):
            raise Unusable(f"wrapper {path}: {module} has no {name}")
        found = getattr(found, part)
    if not callable(found):
        raise Unusable(f"wrapper {path}: {name} is a {type(found).__name__}, not a function")
    return found


class Maker:
    """Makes what `ID` or `module:ID` names, with the options of the user.

    vector: whether the environment's own vector implementation is used; id: what gymnasium found, with its
    version; keys: the parts of the observation that are seen, None for all; notes: what it said of the ID.
    """

    source = "gym"

    def __init__(self, name, options=(), wrapper=None, check=False, keys=None):
        self.gymnasium = gymnasium_or_say()
        self.module, _, self.id = name.rpartition(":")
        self.options = {key: literal(value) for key, value in options}
        self.wrapper = wrapper_of(wrapper) if wrapper else None
        self.check, self.keys, self.notes = check, keys, []
        if self.module:
            import_or_say(self.module, f"module {self.module}")
        atari = self.id.startswith("ALE/")
        if atari:
            self.gymnasium.register_envs(import_or_say("ale_py", "package ale_py"))
        spec = self._spec()
        self.id = spec.id
        mode = self.options.pop("vectorization_mode", None)
        # The memory of a game is an option that its vector implementation does not have.
        memory = atari and "obs_type" in self.options
        self.vector = (
            spec.vector_entry_point is not None
            and mode in (None, "vector_entry_point")
            and not memory
            and (spec.entry_point is None or not (self.wrapper or spec.additional_wrappers))
        )
        if self.wrapper and self.vector:
            raise Unusable(f"{self.id} exists as a vector environment only, which takes no wrapper")
        if atari and self.vector:
            self.options = ATARI | self.options
        elif memory:
            self.options = {key: ATARI[key] for key in ATARI_PLAIN} | self.options

    def _spec(self):
        error = self.gymnasium.error
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                # Finds names without a version as well.
                spec = self.gymnasium.envs.registration._find_spec(self.id)
            except error.Error as refusal:
                raise instead(self.gymnasium, self.module, self.id, one_line(refusal)) from None
        lines = [plain(warning.message) for warning in said]
        self.notes += [line for line in lines if "out of date" in line or "deprecated" in line]
        return spec

    def _made(self, make):
        error = self.gymnasium.error
        try:
            return make()
        except error.DependencyNotInstalled as refusal:
            raise Unusable(one_line(refusal)) from None
        except ModuleNotFoundError as missing:
            install = how_to_install(missing.name or "")
            raise Unusable(
                f"it needs a package that is not installed: {one_line(missing)}{f'; {install}' if install else ''}"
            ) from None
        except ImportError as wrong:
            # Gymnasium's way to say that old versions have moved elsewhere, among others.
            newer = latest(self.gymnasium, self.module, self.id)
            raise Unusable(one_line(wrong), *(["type ", Setting("env", newer)] if newer else [])) from None
        except error.Error as refusal:
            raise Unusable(one_line(refusal)) from None
        except AttributeError as wrong:
            if "has no attribute" in str(wrong) and str(wrong).startswith("module "):
                entry = self.gymnasium.envs.registration._find_spec(self.id).entry_point
                raise Unusable(f"it is registered as {entry!r}, but {one_line(wrong)}: mend its entry_point") from None
            raise
        except TypeError as wrong:
            text = one_line(wrong)
            if "unexpected keyword argument" in text:
                raise Unusable(f"its options: {text}") from None
            if missing := re.search(r"missing \d+ required (?:positional|keyword-only) arguments?: ((?:(?:, |,? and )?'\w+')+)", text):
                names = re.findall(r"'(\w+)'", missing[1])
                add = [part for name in names for part in (" ", Setting("options", f"{name}=VALUE"))]
                raise Unusable(f"it needs what was not given ({missing[0]})", "add", *add) from None
            if "Gym is incompatible with Gymnasium" in text:
                raise Unusable(
                    "it is an environment of the old package gym",
                    "derive it from gymnasium.Env, or `pip install shimmy` and ",
                    Setting("env", "gym:shimmy:GymV21Environment-v0"),
                    " ",
                    Setting("options", "env_id=ID"),
                ) from None
            raise

    def one(self):
        """One environment, wrapped."""
        options = self.options
        if not self.check:
            options = {"disable_env_checker": True, **options}
        env = self._made(lambda: self.gymnasium.make(self.id, **options))
        if self.wrapper is None:
            return env
        wrapped = self.wrapper(env)
        if wrapped is None or not hasattr(wrapped, "step"):
            raise Unusable(f"the wrapper gave {type(wrapped).__name__}, not an environment: it must return one")
        return wrapped

    def many(self, count):
        """`count` environments that step together, of their own vector implementation."""
        return self._made(
            lambda: self.gymnasium.make_vec(
                self.id, num_envs=count, vectorization_mode="vector_entry_point", **self.options
            )
        )


def plain(message):
    """A warning of gymnasium without its colours."""
    return one_line(re.sub(r"\x1b\[[0-9;]*m", "", str(message))).removeprefix("WARN: ")
