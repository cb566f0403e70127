"""Sample Factory: its APPO on EnvPool's CartPole, batched as in its own EnvPool examples."""

import tempfile
from typing import Any

import settings
from meter import Meter

ARGS = settings.parse(__doc__, {
    "envs": 1024, "workers": 1, "splits": 1, "rollout": 32, "batches": 1, "epochs": 1, "env_threads": 2, "async_rl": 0, "serial": 1,
})


def make_env(name: str, cfg: Any, env_config: Any, render_mode: str | None = None, **_: Any) -> Any:
    import envpool
    from sf_examples.envpool.envpool_wrappers import EnvPoolResetFixWrapper

    seed = 0 if env_config is None else env_config.env_id
    env = envpool.make(name, env_type="gymnasium", num_envs=ARGS.envs, num_threads=ARGS.env_threads, seed=seed)
    env = EnvPoolResetFixWrapper(env)
    # What Gymnasium 0.29 closes EnvPool never opened.
    env.close = lambda: None
    env.num_agents = ARGS.envs
    return env


def main() -> None:
    from sample_factory.algo.runners.runner import AlgoObserver, Runner
    from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
    from sample_factory.envs.env_utils import register_env
    from sample_factory.train import make_runner

    meter = Meter(ARGS.seconds)

    class Clock(AlgoObserver):
        def on_training_step(self, runner: Runner, training_iteration_since_resume: int) -> None:
            if meter.learned(runner.env_steps.get(0, 0)):
                runner.cfg.train_for_seconds = -1

    register_env("CartPole-v1", make_env)
    frames = ARGS.envs * ARGS.workers * ARGS.splits * ARGS.rollout
    argv = ["--env=CartPole-v1", "--experiment=cartpole", f"--train_dir={tempfile.mkdtemp()}", "--device=cpu", "--seed=1"]
    options = dict(
        batched_sampling=True, num_workers=ARGS.workers, num_envs_per_worker=ARGS.splits, worker_num_splits=ARGS.splits,
        rollout=ARGS.rollout, batch_size=frames // ARGS.batches, num_batches_per_epoch=ARGS.batches, num_epochs=ARGS.epochs,
        shuffle_minibatches=False, use_rnn=False, recurrence=1, normalize_input=False, normalize_returns=False,
        encoder_mlp_layers=[64, 64], nonlinearity="tanh", reward_scale=0.05, async_rl=bool(ARGS.async_rl),
        serial_mode=bool(ARGS.serial), save_every_sec=100_000, experiment_summaries_interval=1000, train_for_env_steps=1 << 40,
        policy_workers_per_policy=1, learning_rate=0.001, with_wandb=False)
    parser, _ = parse_sf_args(argv)
    parser.set_defaults(**options)
    cfg, runner = make_runner(parse_full_cfg(parser, argv))
    runner.register_observer(Clock())
    runner.init()
    runner.run()
    lengths = runner.policy_avg_stats.get("len", [[]])[0]
    length = float(sum(lengths) / len(lengths)) if len(lengths) else None
    meter.report(settings.used(ARGS), ["sample-factory", "envpool", "torch"], length)


if __name__ == "__main__":
    main()
