"""The network of a policy as a module of PyTorch."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from .policy import Policy


class Normalize(nn.Module):
    """Observations brought to mean 0 and deviation 1, frame by frame, with the statistics of the run."""

    def __init__(self, frame_len: int, clip: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(frame_len))
        self.register_buffer("scale", torch.ones(frame_len))
        self.clip = clip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = x.reshape(len(x), -1, len(self.mean))
        return ((frames - self.mean) * self.scale).clamp(-self.clip, self.clip).reshape(len(x), -1)


class Block(nn.Module):
    """Two convolutions whose sum with what came in goes on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv[1](torch.relu(self.conv[0](torch.relu(x))))


class Section(nn.Module):
    """A convolution, pooling, and two blocks (Espeholt et al. 2018, figure 3)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.block = nn.ModuleList(Block(channels) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.conv(x))
        for block in self.block:
            x = block(x)
        return x


class ActorCritic(nn.Module):
    """Observations `[N, *observation_shape]`, float32 or uint8, to the policy's outputs `[N, outputs]` and values `[N]`.

    Outputs are the logits of each choice in turn, then the means of the numbers, then their raw log-deviations. Parameters have
    the names of the checkpoint: `torso.0.weight`, `policy.bias`, ...

    A network that remembers also takes the state before, `[N, state_len]` (None: zeros, where episodes begin), and the rewards that came
    with the observations, `[N]` (None: zeros), and gives the next state third. What follows `h` and `c` in it is the most likely action as
    the network sees it next, see `encode`; who takes another writes `module.encode(words)` there.
    """

    def __init__(self, about: dict, shapes: dict[str, list[int]]) -> None:
        super().__init__()
        network = about["network"]
        self.activation = torch.tanh if network["activation"] == "tanh" else torch.relu
        self.image = network["image"] if network["torso"] != "mlp" else None
        self.deep = network["torso"] == "impala-deep"
        dense = nn.ModuleList(nn.Linear(*reversed(shapes[name])) for name in _weights(shapes, "torso.", 2))
        if self.deep:
            names = (f"torso.section.{section}.conv.weight" for section in range(len(shapes)))
            sections = (Section(shapes[name][1], shapes[name][0]) for name in names if name in shapes)
            self.torso: nn.Module = nn.ModuleDict({"section": nn.ModuleList(sections), "fc": dense})
        elif self.image:
            kernels = [shapes[name] for name in _weights(shapes, "torso.conv.", 4)]
            convs = (nn.Conv2d(i, o, k, stride) for (o, i, k, _), stride in zip(kernels, network["strides"], strict=True))
            self.torso = nn.ModuleDict({"conv": nn.ModuleList(convs), "fc": dense})
        else:
            self.torso = dense
        self.sizes, self.numbers = about["action"]["sizes"], len(about["action"]["low"])
        self.state_len, self.core_len = about["state_len"], about["core_len"]
        self.action_reward_inputs = network["action_reward_inputs"]
        if self.core_len:
            gates, inputs = shapes["core.weight_ih"]
            self.core = nn.LSTMCell(inputs, gates // 4)
        self.policy = nn.Linear(*reversed(shapes["policy.weight"]))
        self.value_torso = None
        if network["separate_value"]:
            self.value_torso = nn.ModuleList(nn.Linear(*reversed(shapes[n])) for n in _weights(shapes, "value_torso.", 2))
        self.value = nn.Linear(*reversed(shapes["value.weight"]))
        # With PopArt the head's output stands for a value.
        self.value_mean, self.value_deviation = about["value_scale"] or (0.0, 1.0)
        clip = network["observation_clip"]
        self.normalize = None if clip is None else Normalize(shapes["normalize.mean"][0], clip)

    def forward(
        self, observation: torch.Tensor, state: torch.Tensor | None = None, reward: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        x = observation.to(self.policy.weight.dtype)
        if observation.dtype == torch.uint8:
            x = x / 255
        if self.image:
            x = x.reshape(len(x), *self.image)
            for conv in self.torso["section" if self.deep else "conv"]:
                x = conv(x) if self.deep else self.activation(conv(x))
            x = torch.relu(x)
        x = x.flatten(1)
        if self.normalize is not None:
            x = self.normalize(x)
        features = self._through(self.torso["fc"] if self.image else self.torso, x)
        seen = features if self.value_torso is None else self._through(self.value_torso, x)
        if not self.state_len:
            return self.policy(features), self._value(seen)
        state = x.new_zeros(len(x), self.state_len) if state is None else state
        if self.action_reward_inputs:
            reward = x.new_zeros(len(x)) if reward is None else reward
            extra = [state[:, self.core_len :], reward.clamp(-1, 1).unsqueeze(1)]
            features, seen = torch.cat([features, *extra], 1), torch.cat([seen, *extra], 1)
        after = []
        if self.core_len:
            h, c = state[:, : self.core_len].chunk(2, 1)
            after = list(self.core(features, (h, c)))
            features = seen = after[0]
        outputs = self.policy(features)
        if self.action_reward_inputs:
            choices = outputs[:, : sum(self.sizes)].split(self.sizes, 1) if self.sizes else ()
            means = outputs[:, sum(self.sizes) :][:, : self.numbers]
            after.append(self.encode(torch.cat([*(choice.argmax(1, True).to(means.dtype) for choice in choices), means], 1)))
        return outputs, self._value(seen), torch.cat(after, 1)

    def encode(self, actions: torch.Tensor) -> torch.Tensor:
        """`[N, choices + numbers]`, each choice counted from 0 and each number as it was drawn, before its bounds, to what the network
        sees of them at the next step: choices one-hot, numbers clipped to -1 and 1."""
        columns = zip(self.sizes, actions.unbind(1))
        parts = [nn.functional.one_hot(column.long(), size).to(actions.dtype) for size, column in columns]
        return torch.cat([*parts, actions[:, len(self.sizes) :].clamp(-1, 1)], 1)

    def _value(self, seen: torch.Tensor) -> torch.Tensor:
        return self.value(seen).squeeze(1) * self.value_deviation + self.value_mean

    def _through(self, layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            x = self.activation(layer(x))
        return x


def _weights(shapes: dict[str, list[int]], prefix: str, dims: int) -> list[str]:
    """Names of the weights of one kind of layer, in the order of the layers."""
    names = [n for n, shape in shapes.items() if n.startswith(prefix) and n.endswith(".weight") and len(shape) == dims]
    numbers = [int(name.split(".")[-2]) for name in names]
    assert all(a < b for a, b in pairwise(numbers)), names
    return names


def network(policy: Policy) -> ActorCritic:
    """The network of `policy`, with its weights, ready to act."""
    weights = policy.weights()
    module = ActorCritic(policy.about, {name: list(array.shape) for name, array in weights.items()})
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return module.eval()
