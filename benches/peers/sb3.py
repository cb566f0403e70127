"""Stable-Baselines3: its PPO or A2C on vectors of Gymnasium's CartPole."""

import settings
from meter import Meter

ARGS = settings.parse(__doc__, {
    "algorithm": "ppo", "envs": 64, "steps": 256, "epochs": 1, "minibatches": 1, "processes": 0, "threads": 1,
})


def main() -> None:
    import torch
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    meter = Meter(ARGS.seconds)

    class Clock(BaseCallback):
        """Before a rollout all frames of those before it were learned from."""

        over = False

        def _on_rollout_start(self) -> None:
            self.over = meter.learned(self.num_timesteps)

        def _on_step(self) -> bool:
            return not self.over

    torch.set_num_threads(ARGS.threads)
    kind = SubprocVecEnv if ARGS.processes else DummyVecEnv
    envs = make_vec_env("CartPole-v1", n_envs=ARGS.envs, seed=1, vec_env_cls=kind)
    shared = dict(n_steps=ARGS.steps, device="cpu", seed=1, policy_kwargs=dict(net_arch=[64, 64]))
    if ARGS.algorithm == "ppo":
        rows = ARGS.envs * ARGS.steps
        model = PPO("MlpPolicy", envs, n_epochs=ARGS.epochs, batch_size=rows // ARGS.minibatches, **shared)
    else:
        model = A2C("MlpPolicy", envs, **shared)
    model.learn(1 << 40, callback=Clock())
    lengths = [episode["l"] for episode in model.ep_info_buffer or []]
    length = sum(lengths) / len(lengths) if lengths else None
    meter.report(settings.used(ARGS), ["stable-baselines3", "gymnasium", "torch"], length)
    envs.close()


if __name__ == "__main__":
    main()
