"""PufferLib 3.0 on its own CartPole in C: its trainer, its network, its optimizer."""

import contextlib
import io
import tempfile

import settings
from meter import Meter

ARGS = settings.parse(__doc__, {
    "envs": 4096, "horizon": 64, "minibatch": 32768, "optimizer": "muon", "recurrent": 0, "compile": 0, "threads": 2,
})


def main() -> None:
    import torch
    import pufferlib
    import pufferlib.vector
    from pufferlib import pufferl
    from pufferlib.ocean.cartpole.cartpole import Cartpole
    from pufferlib.ocean.torch import Policy, Recurrent

    torch.set_num_threads(ARGS.threads)
    # In the trainer's own process: on few cores workers only add copies and switches.
    env = pufferlib.vector.make(
        Cartpole, backend=pufferlib.PufferEnv, env_kwargs={"num_envs": ARGS.envs, "report_interval": 64})
    policy = Policy(env.driver_env)
    if ARGS.recurrent:
        policy = Recurrent(env.driver_env, policy)
    # config/default.ini and config/ocean/cartpole.ini of the package; what differs is named in README.md.
    config = dict(
        env="puffer_cartpole", seed=42, torch_deterministic=True, cpu_offload=False, device="cpu", precision="float32",
        optimizer=ARGS.optimizer, anneal_lr=True, total_timesteps=20_000_000_000, learning_rate=0.05 if ARGS.optimizer == "muon" else 0.003,
        gamma=0.95, gae_lambda=0.90, update_epochs=1, clip_coef=0.2, vf_coef=2.0, vf_clip_coef=0.2, max_grad_norm=1.5,
        ent_coef=0.001, adam_beta1=0.95, adam_beta2=0.999, adam_eps=1e-12, checkpoint_interval=1 << 40, batch_size="auto",
        minibatch_size=ARGS.minibatch, max_minibatch_size=max(32768, ARGS.minibatch), bptt_horizon=ARGS.horizon,
        compile=bool(ARGS.compile), compile_mode="default", compile_fullgraph=True, vtrace_rho_clip=1.0, vtrace_c_clip=1.0,
        prio_alpha=0.8, prio_beta0=0.2, use_rnn=bool(ARGS.recurrent), data_dir=tempfile.mkdtemp())
    meter = Meter(ARGS.seconds)
    # Its dashboard is drawn on standard output four times a second.
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = pufferl.PuffeRL(config, env, policy)
        while True:
            trainer.evaluate()
            trainer.train()
            if meter.learned(trainer.global_step):
                break
        length = trainer.last_stats.get("episode_length")
    meter.report(settings.used(ARGS), ["pufferlib", "torch"], None if length is None else float(length))
    trainer.utilization.stop()
    env.close()


if __name__ == "__main__":
    main()
