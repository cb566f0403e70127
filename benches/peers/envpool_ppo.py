"""EnvPool's CartPole in C++ under a lean PPO in PyTorch: what one writes who wants speed and no framework."""

import settings
from meter import Meter

ARGS = settings.parse(__doc__, {
    "envs": 1024, "horizon": 32, "minibatches": 1, "epochs": 1, "torch_threads": 2, "env_threads": 2, "learning_rate": 0.001,
})
DISCOUNT, LAMBDA, CLIP, ENTROPY_COST, VALUE_COST, MAX_NORM = 0.99, 0.95, 0.2, 0.001, 0.5, 0.5


def main() -> None:
    import envpool
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(ARGS.torch_threads)
    torch.manual_seed(1)
    envs = envpool.make(
        "CartPole-v1", env_type="gymnasium", num_envs=ARGS.envs, num_threads=ARGS.env_threads, seed=1)
    torso = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    heads = nn.Linear(64, 3)
    with torch.no_grad():
        heads.weight *= 0.1
    parameters = [*torso.parameters(), *heads.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=ARGS.learning_rate, eps=1e-5, foreach=True)

    steps, count = ARGS.horizon, ARGS.envs
    seen = torch.zeros(steps, count, 4)
    actions = torch.zeros(steps, count, dtype=torch.int64)
    log_probs, values = torch.zeros(steps, count), torch.zeros(steps + 1, count)
    rewards, lives = torch.zeros(steps, count), torch.zeros(steps, count)
    # After the end of an episode EnvPool takes one step to reset, which is nobody's experience.
    counts = torch.zeros(steps, count)

    def look(observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = heads(torso(observation))
        return out[..., :2].log_softmax(-1), out[..., 2]

    meter = Meter(ARGS.seconds)
    observation = torch.from_numpy(envs.reset()[0]).float()
    resets = torch.zeros(count)
    frames, ages, lengths = 0, np.zeros(count), [0.0]
    while True:
        with torch.no_grad():
            for t in range(steps):
                seen[t] = observation
                log_pi, values[t] = look(observation)
                # One number a row: quicker than torch.multinomial.
                action = (torch.rand(count) >= log_pi[:, 0].exp()).long()
                actions[t] = action
                log_probs[t] = log_pi.gather(1, action[:, None])[:, 0]
                found, reward, terminated, truncated, _ = envs.step(action.numpy().astype(np.int32))
                observation = torch.from_numpy(found).float()
                over = terminated | truncated
                rewards[t] = torch.from_numpy(reward)
                lives[t] = torch.from_numpy(~over).float()
                counts[t] = 1 - resets
                resets = torch.from_numpy(over).float()
                ages += 1
                if over.any():
                    lengths.extend(ages[over])
                    ages[over] = 0
            values[steps] = look(observation)[1]
            advantages, later = torch.zeros(steps, count), torch.zeros(count)
            for t in reversed(range(steps)):
                delta = rewards[t] * 0.05 + DISCOUNT * lives[t] * values[t + 1] - values[t]
                later = delta + DISCOUNT * LAMBDA * lives[t] * later
                advantages[t] = later
            targets = advantages + values[:-1]
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        flat = [x.flatten(0, 1) for x in (seen, actions, log_probs, advantages, targets, counts)]
        for _ in range(ARGS.epochs):
            order = [slice(None)] if ARGS.minibatches == 1 else torch.randperm(steps * count).chunk(ARGS.minibatches)
            for rows in order:
                x, action, old, advantage, target, weight = (part[rows] for part in flat)
                log_pi, value = look(x)
                ratio = (log_pi.gather(1, action[:, None])[:, 0] - old).exp()
                gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
                entropy = -(log_pi.exp() * log_pi).sum(1)
                terms = -gain + VALUE_COST * (value - target).square() - ENTROPY_COST * entropy
                loss = (terms * weight).sum() / weight.sum()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, MAX_NORM)
                optimizer.step()
        frames += int(counts.sum())
        if meter.learned(frames):
            break
    meter.report(settings.used(ARGS), ["envpool", "torch", "numpy"], float(np.mean(lengths[-1000:])))


if __name__ == "__main__":
    main()
