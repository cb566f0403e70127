"""The loop that one writes with torch.multiprocessing, after MonoBeast (its network, T, B, actors and optimizer).

Actor processes act with batches of one and write into shared tensors; the learner stacks them, corrects with V-trace and
steps RMSProp. Pong is ale-py's vector environment in C++, which is faster than the wrappers in Python that MonoBeast uses;
CartPole is Gymnasium's, with a network of 64x64 units.

    python benches/peers/monobeast_loop.py [--env ALE/Pong-v5] [--actors 4] [--seconds 15] [--learner-threads 2]

Needs torch, gymnasium and, for Pong, ale-py.
"""

import os
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

import settings
from meter import Meter

ARGS = settings.parse(__doc__, {"env": "ALE/Pong-v5", "actors": 4, "learner_threads": 2, "unroll": 80, "batch": 8})
IS_PONG = ARGS.env == "ALE/Pong-v5"
UNROLL, BATCH, DISCOUNT = ARGS.unroll, ARGS.batch, 0.99
SHAPE, ACTIONS = ((4, 84, 84), 6) if IS_PONG else ((4,), 2)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.torso = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.heads = nn.Linear(64, ACTIONS + 1)

    def forward(self, frame, reward, last_action):
        """As in `Nature`; reward and last action are no inputs."""
        out = self.heads(self.torso(frame))
        logits, values = out[..., :ACTIONS], out[..., ACTIONS]
        action = torch.multinomial(F.softmax(logits.flatten(0, 1), 1), 1)
        return logits, values, action.view(frame.shape[:2])


class Nature(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(4, 32, 8, 4), nn.Conv2d(32, 64, 4, 2), nn.Conv2d(64, 64, 3, 1)])
        self.fc = nn.Linear(3136, 512)
        self.policy = nn.Linear(512 + ACTIONS + 1, ACTIONS)
        self.baseline = nn.Linear(512 + ACTIONS + 1, 1)

    def forward(self, frame, reward, last_action):
        """`[T][B]` of each to logits `[T][B][A]`, values and sampled actions `[T][B]`."""
        time, batch = frame.shape[:2]
        x = frame.flatten(0, 1).float() / 255
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        x = F.relu(self.fc(x.flatten(1)))
        one_hot = F.one_hot(last_action.flatten(), ACTIONS).float()
        x = torch.cat([x, reward.clamp(-1, 1).view(-1, 1), one_hot], 1)
        logits = self.policy(x)
        action = torch.multinomial(F.softmax(logits, 1), 1)
        return logits.view(time, batch, -1), self.baseline(x).view(time, batch), action.view(time, batch)


def make_env() -> Any:
    import gymnasium as gym

    if IS_PONG:
        import ale_py

        gym.register_envs(ale_py)
        return gym.make_vec(ARGS.env, num_envs=1, num_threads=1, stack_num=4, repeat_action_probability=0.0)
    return gym.make_vec(ARGS.env, num_envs=1, vectorization_mode="vector_entry_point")


def act(seed, model, buffers, free, full):
    torch.set_num_threads(1)
    env = make_env()
    frame, _ = env.reset(seed=seed)
    reward, done, action = torch.zeros(1, 1), False, torch.zeros(1, 1, dtype=torch.int64)

    def think_and_write(index, t):
        with torch.no_grad():
            logits, _, chosen = model(torch.from_numpy(frame)[None], reward, action)
        row = dict(frame=torch.from_numpy(frame[0]), reward=reward[0, 0], done=done, last_action=action[0, 0],
                   logits=logits[0, 0], action=chosen[0, 0])
        for key, value in row.items():
            buffers[key][index][t] = value
        return chosen

    while True:
        index = free.get()
        for t in range(UNROLL + 1):
            chosen = think_and_write(index, t)
            if t < UNROLL:
                action = chosen
                frame, found, terminated, truncated, _ = env.step(action[0].numpy())
                reward = torch.from_numpy(found.astype(np.float32))[None]
                done = bool(terminated[0] or truncated[0])
        full.put(index)


def loss_of(model, batch):
    logits, values, _ = model(batch["frame"], batch["reward"], batch["last_action"])
    bootstrap, logits, values = values[-1].detach(), logits[:-1], values[:-1]
    action = batch["action"][:-1, :, None]
    log_probability = logits.log_softmax(-1).gather(2, action)[..., 0]
    with torch.no_grad():
        behaviour = batch["logits"][:-1].log_softmax(-1).gather(2, action)[..., 0]
        rho = (log_probability - behaviour).exp().clamp(max=1)
        discount = (~batch["done"][1:]).float() * DISCOUNT
        reward = batch["reward"][1:].clamp(-1, 1)
        delta = rho * (reward + discount * torch.cat([values[1:], bootstrap[None]]) - values)
        sums, sum_ = [], torch.zeros(BATCH)
        for t in reversed(range(UNROLL)):
            sum_ = delta[t] + discount[t] * rho[t] * sum_
            sums.append(sum_)
        targets = torch.stack(sums[::-1]) + values
        advantage = rho * (reward + discount * torch.cat([targets[1:], bootstrap[None]]) - values)
    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum()
    return -(log_probability * advantage).sum() + 0.25 * (targets - values).pow(2).sum() - 0.0006 * entropy


def main():
    torch.set_num_threads(ARGS.learner_threads)
    context = mp.get_context("fork")
    count = max(2 * ARGS.actors, BATCH)

    def tensors(*shape, dtype=torch.float32):
        return [torch.zeros(UNROLL + 1, *shape, dtype=dtype).share_memory_() for _ in range(count)]

    buffers = dict(frame=tensors(*SHAPE, dtype=torch.uint8 if IS_PONG else torch.float32), reward=tensors(),
                   done=tensors(dtype=torch.bool), last_action=tensors(dtype=torch.int64), logits=tensors(ACTIONS),
                   action=tensors(dtype=torch.int64))
    network = Nature if IS_PONG else Dense
    shared, model = network().share_memory(), network()
    model.load_state_dict(shared.state_dict())
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.00048, alpha=0.99, eps=0.01)
    free, full = context.SimpleQueue(), context.SimpleQueue()
    for index in range(count):
        free.put(index)
    workers = [context.Process(target=act, args=(seed, shared, buffers, free, full)) for seed in range(ARGS.actors)]
    for worker in workers:
        worker.start()
    try:
        meter, frames, ended, began, learning = Meter(ARGS.seconds), 0, [], time.perf_counter(), 0.0
        while True:
            indices = [full.get() for _ in range(BATCH)]
            taken = time.perf_counter()
            batch = {key: torch.stack([buffer[index] for index in indices], 1) for key, buffer in buffers.items()}
            for index in indices:
                free.put(index)
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 40)
            optimizer.step()
            shared.load_state_dict(model.state_dict())
            learning += time.perf_counter() - taken
            frames += UNROLL * BATCH
            ended.append(int(batch["done"][1:].sum()))
            if meter.learned(frames):
                break
        recent = ended[-len(ended) // 4:]
        length = UNROLL * BATCH * len(recent) / max(1, sum(recent))
        busy = round(learning / (time.perf_counter() - began), 2)
        meter.report({**settings.used(ARGS), "learner_busy": busy}, ["torch", "gymnasium"], length)
    finally:
        for worker in workers:
            worker.kill()


if __name__ == "__main__":
    main()
