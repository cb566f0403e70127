"""What to type in place of an ID that Gymnasium does not know."""

import difflib
import importlib.util
import re
import shlex
import sys

from .errors import Setting, Unusable

PACKAGES = [
    (r"(MiniGrid|BabyAI)-", "minigrid", "minigrid"),
    (r"MiniWorld-", "miniworld", "miniworld"),
    (r"(highway|merge|roundabout|parking|intersection|racetrack|two-way|u-turn|exit|lane-keeping)(-\w+)*-v", "highway_env", "highway-env"),
    (r"(Fetch|Hand(Reach|Manipulate)|AdroitHand|PointMaze|AntMaze|FrankaKitchen)", "gymnasium_robotics", "gymnasium-robotics"),
    (r"Meta-?World/", "metaworld", "metaworld"),
    (r"(dm_control|bsuite)/", "shimmy", "shimmy"),
    (r"GymV(21|26)Environment", "shimmy", "shimmy"),
    (r"Panda(Reach|Push|Slide|PickAndPlace|Stack|Flip)", "panda_gym", "panda-gym"),
    (r"Safety(Point|Car|Doggo|Racecar|Ant|HalfCheetah|Hopper|Humanoid|Swimmer|Walker2d)", "safety_gymnasium", "safety-gymnasium"),
    (r"FlappyBird-", "flappy_bird_gymnasium", "flappy-bird-gymnasium"),
    (r"Vizdoom", "vizdoom.gymnasium_wrapper", "vizdoom"),
    (r"PyFlyt/", "PyFlyt.gym_envs", "PyFlyt"),
    (r"MiniHack-", "minihack", "minihack"),
    (r"NetHack\w*-", "nle", "nle"),
    (r"sumo-rl-", "sumo_rl", "sumo-rl"),
]
"""How IDs of well-known packages begin, the module that registers them, and what pip calls it."""

NAMES = {module.split(".")[0]: package for _, module, package in PACKAGES} | {
    "ale_py": "ale-py", "procgen": "procgen", "mujoco": "mujoco", "Box2D": "gymnasium[box2d]", "cv2": "opencv-python"
}

GAMES = """Adventure AirRaid Alien Amidar Assault Asterix Asteroids Atlantis Atlantis2 Backgammon BankHeist BasicMath
BattleZone BeamRider Berzerk Blackjack Bowling Boxing Breakout Carnival Casino Centipede ChopperCommand CrazyClimber
Crossbow Darkchambers Defender DemonAttack DonkeyKong DoubleDunk Earthworld ElevatorAction Enduro Entombed Et
FishingDerby FlagCapture Freeway Frogger Frostbite Galaxian Gopher Gravitar Hangman HauntedHouse Hero HumanCannonball
IceHockey Jamesbond JourneyEscape Kaboom Kangaroo KeystoneKapers Kingkong Klax Koolaid Krull KungFuMaster LaserGates
LostLuggage MarioBros MiniatureGolf MontezumaRevenge MrDo MsPacman NameThisGame Othello Pacman Phoenix Pitfall Pitfall2
Pong Pooyan PrivateEye Qbert Riverraid RoadRunner Robotank Seaquest SirLancelot Skiing Solaris SpaceInvaders SpaceWar
StarGunner Superman Surround Tennis Tetris TicTacToe3D TimePilot Trondead Turmoil Tutankham UpNDown Venture
VideoCheckers VideoChess VideoCube VideoPinball WizardOfWor WordZapper YarsRevenge Zaxxon""".split()

_ATARI = re.compile(r"(?:ALE/)?(?P<game>\w+?)(?P<ram>-ram)?(?P<skip>Deterministic|NoFrameskip)?(?:-v(?P<version>\d+))?")


def how_to_install(module):
    """For a module of a well-known package, the command; None for others."""
    package = NAMES.get(module.split(".")[0])
    return f"install it with `{sys.executable} -m pip install {shlex.quote(package)}`" if package else None


def instead(gymnasium, module, name, refusal):
    """The error for a `name` that Gymnasium refuses, with what to type."""
    found = _atari(module, name) or _of_package(module, name)
    if found:
        return found
    meant = re.search(r"Please use `([^`]+)` instead", refusal) or re.search(r"Did you mean: `([^`]+)`", refusal)
    if meant and _alike(name, meant[1]):
        namespace = name.rpartition("/")[0]
        other = meant[1] if "/" in meant[1] or not namespace else f"{namespace}/{meant[1]}"
        return Unusable(refusal.rstrip("."), "type ", Setting("env", _typed(module, latest_id(gymnasium, other) or other)))
    newer = latest(gymnasium, module, name)
    if newer:
        return Unusable(refusal.rstrip("."), "type ", Setting("env", newer))
    if module:
        return Unusable(refusal.rstrip("."), f"importing {module} did not register it: look for its name there")
    named = Setting("env", f"gym:MODULE:{name}")
    return Unusable(refusal.rstrip("."), "if a package registers it, name its module: ", named)


def _alike(name, other):
    """Gymnasium always knows something that it may have been; not all of it is worth a try."""
    name, other = (re.sub(r"-v\d+$", "", each.rpartition("/")[2]).lower() for each in (name, other))
    return difflib.SequenceMatcher(None, name, other).ratio() > 0.7


def latest(gymnasium, module, name):
    """What to type for the newest version of an environment, if there is another than `name`."""
    found = latest_id(gymnasium, name)
    return _typed(module, found) if found and found != name else None


def latest_id(gymnasium, name):
    stem = re.sub(r"-v\d+$", "", name)
    versions = [
        (spec.version or 0, known)
        for known, spec in gymnasium.registry.items()
        if re.sub(r"-v\d+$", "", known).lower() == stem.lower()
    ]
    return max(versions)[1] if versions else None


def _typed(module, name):
    return f"gym:{module}:{name}" if module else f"gym:{name}"


def _atari(module, name):
    """Atari games by the names that they had once."""
    found = _ATARI.fullmatch(name)
    games = {game.lower(): game for game in GAMES}
    if not found or found["game"].lower() not in games or module not in ("", "ale_py", "gymnasium"):
        return None
    # A name of today that is not there is for gymnasium to explain.
    old = found["ram"] or found["skip"] or not name.startswith("ALE/") or found["version"] not in (None, "5")
    if not old:
        return None
    typed = [Setting("env", f"gym:ALE/{games[found['game'].lower()]}-v5")]
    if found["ram"]:
        typed += [" ", Setting("options", "obs_type=ram")]
    if found["version"] == "0":
        typed += [" ", Setting("options", "repeat_action_probability=0.25")]
    skip = [", which holds each action for 4 frames (", Setting("options", "frameskip=1"), " for one)"]
    install = [] if _there("ale_py") else [f"; {how_to_install('ale_py')} first"]
    return Unusable(
        f"there is no {name} here, Atari games are ALE/GAME-v5 and the rest is options", "type ", *typed, *skip, *install
    )


def _of_package(module, name):
    if name.startswith("procgen") or module == "procgen":
        return Unusable(
            f"{name} is registered with the old package gym only",
            f"`{sys.executable} -m pip install procgen gym shimmy` and type ",
            Setting("env", "gym:shimmy:GymV21Environment-v0"),
            " ",
            Setting("options", f"env_id=procgen:{name}"),
        )
    for begins, registers, package in PACKAGES:
        if module != registers and re.match(begins, name):
            install = "" if _there(registers) else f"; install it first with `{sys.executable} -m pip install {package}`"
            return Unusable(
                f"{name} is of the package {package}, which must be imported",
                "type ",
                Setting("env", f"gym:{registers}:{name}"),
                install,
            )
    return None


def _there(module):
    try:
        return importlib.util.find_spec(module.split(".")[0]) is not None
    except (ImportError, ValueError):
        return False
