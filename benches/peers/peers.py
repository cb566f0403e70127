"""Which peers there are, with their packages and the settings that were quickest (README.md)."""

import install
from install import Peer

SB3 = ["stable-baselines3==2.9.2", "gymnasium==1.4.0"]

PEERS = {
    "pufferlib": Peer(
        "PufferLib 3.0, its CartPole in C", "pufferlib_ppo.py", ["--threads", "1", "--optimizer", "adam", "--envs", "1024"],
        # Of what it names, without those that only log elsewhere (wandb, neptune).
        ["gymnasium==0.29.1", "gym==0.23.0", "pettingzoo==1.24.1", "shimmy[gym-v21]==1.3.0", "psutil==7.0.0", "rich==14.0.0",
         "rich-argparse==1.7.1", "pyro-ppl==1.9.1", "heavyball==1.7.2"],
        also=install.pufferlib),
    "envpool": Peer("EnvPool, a lean PPO in PyTorch", "envpool_ppo.py", ["--envs", "4096", "--torch-threads", "1", "--env-threads", "1"], ["envpool==1.2.5"]),
    "sb3-ppo": Peer("Stable-Baselines3, PPO", "sb3.py", ["--algorithm", "ppo", "--envs", "256", "--steps", "16"], SB3, environment="stable-baselines3"),
    "sb3-a2c": Peer("Stable-Baselines3, A2C", "sb3.py", ["--algorithm", "a2c", "--envs", "256", "--steps", "16"], SB3, environment="stable-baselines3"),
    "sample-factory": Peer(
        "Sample Factory, APPO on EnvPool", "sample_factory_appo.py", [], ["sample-factory==2.1.1", "envpool==1.2.5"]),
    "monobeast": Peer("loop after MonoBeast", "monobeast_loop.py", ["--env", "CartPole-v1"], ["gymnasium==1.4.0"]),
}
