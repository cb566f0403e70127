"""A wrapper for environments with the methods of gym before 0.26: `impala_env.compat:old_gym`."""

import inspect

import gymnasium


class OldGym(gymnasium.Env):
    """Takes a reset that gives an observation alone, and a step that gives four values."""

    def __init__(self, env):
        self.env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.metadata, self.render_mode = getattr(env, "metadata", {}), getattr(env, "render_mode", None)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        try:
            takes = inspect.signature(self.env.reset).parameters
        except (TypeError, ValueError):
            takes = {}
        if seed is not None and "seed" not in takes and hasattr(self.env, "seed"):
            self.env.seed(seed)
        found = self.env.reset(seed=seed) if "seed" in takes else self.env.reset()
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict):
            return found
        return found, {}

    def step(self, action):
        found = self.env.step(action)
        if len(found) != 4:
            return found
        observation, reward, done, info = found
        cut_off = bool(done) and bool(info.get("TimeLimit.truncated", False))
        return observation, reward, bool(done) and not cut_off, cut_off, info

    def render(self):
        return self.env.render()

    def close(self):
        self.env.close()


def old_gym(env):
    """The environment beneath gymnasium's own wrappers, which would stumble over four values, and its time limit."""
    limit = getattr(env.spec, "max_episode_steps", None)
    wrapped = OldGym(env.unwrapped)
    return gymnasium.wrappers.TimeLimit(wrapped, limit) if limit else wrapped
