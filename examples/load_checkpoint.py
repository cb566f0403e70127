#!/usr/bin/env python3
"""Runs the network of a checkpoint with numpy and safetensors alone.

    python examples/load_checkpoint.py runs/CartPole-v1-001

Tensors have PyTorch's names and shapes (`torso.0.weight [out, in]`, `policy.bias [outputs]`, ...), so that
`torch.nn.Module.load_state_dict` takes them as well. Outputs are the logits of one choice after the other, then, for
actions that are or have numbers, their means and then their raw log-deviations (docs/algorithm.md, "Policies").

With --observations FILE, a JSON list of observations
(each `[frame stack * frame]` numbers, bytes already divided by 255), prints their logits and values, and the most
likely action of each (choices, then numbers in the policy's units) as JSON.
"""

import argparse
import json
import pathlib
import tomllib

import numpy as np
from safetensors.numpy import load_file


def find(path):
    """Gives the newest checkpoint folder of a run and the run's configuration."""
    run = path if (path / "config.toml").is_file() else path.parent.parent
    checkpoints = sorted(p for p in (run / "checkpoints").iterdir() if p.name.isdigit())
    checkpoint = checkpoints[-1] if run == path else path
    return checkpoint, tomllib.loads((run / "config.toml").read_text())


def convolve(x, weight, bias, stride):
    """[N, C, H, W] with [F, C, K, K] to [N, F, H', W'], without padding."""
    kernel = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    return np.einsum("nchwij,fcij->nfhw", windows, weight) + bias[:, None, None]


def refuse_others(config):
    """This example knows networks that see one observation and have plain layers."""
    for what, there in [
        ("a residual torso", config["torso"] == "impala-deep"),
        ("a core", config.get("core", "none") != "none"),
        ("last action and reward as inputs", config.get("action-reward-inputs", False)),
    ]:
        if there:
            raise SystemExit(f"this example does not run networks with {what}; without --observations it lists their tensors")


def network(tensors, config, observations):
    """Outputs [N, outputs] and values [N] of observations [N, ...]."""
    refuse_others(config)
    relu = lambda x: np.maximum(x, 0)
    activation = relu if config["torso"] != "mlp" or config["activation"] == "relu" else np.tanh
    named = {"atari-shallow": [4, 2], "nature": [4, 2, 1]}
    strides = named.get(config["torso"]) or [int(conv.split("/")[1]) for conv in config.get("conv", [])]
    strides = list(strides)
    # Convolutions come first, then dense layers, each in the order of their numbers.
    layers = {name.removeprefix("torso.").rsplit(".", 1)[0] for name in tensors if name.startswith("torso.")}
    layers = sorted(layers, key=lambda layer: (tensors[f"torso.{layer}.weight"].ndim != 4, int(layer.split(".")[-1])))
    x = observations
    if config.get("normalize-observations", False):
        frames = x.reshape(len(x), -1, len(tensors["normalize.mean"]))
        frames = (frames - tensors["normalize.mean"]) * tensors["normalize.scale"]
        x = np.clip(frames, -config["observation-clip"], config["observation-clip"]).reshape(len(x), -1)
    value_features = x
    for layer in [layer for layer in layers if f"value_torso.{layer}.weight" in tensors]:
        weight, bias = tensors[f"value_torso.{layer}.weight"], tensors[f"value_torso.{layer}.bias"]
        value_features = activation(value_features @ weight.T + bias)
    for layer in layers:
        weight, bias = tensors[f"torso.{layer}.weight"], tensors[f"torso.{layer}.bias"]
        if weight.ndim == 4:
            x = activation(convolve(x, weight, bias, strides.pop(0)))
        else:
            x = activation(x.reshape(len(x), -1) @ weight.T + bias)
    logits = x @ tensors["policy.weight"].T + tensors["policy.bias"]
    if config.get("separate-value", False):
        x = value_features
    values = x @ tensors["value.weight"].T + tensors["value.bias"]
    return logits, values[:, 0]


def most_likely(outputs, layout):
    """Of each choice the one with the largest logit, then the means of the numbers. [N, outputs] to N lists."""
    columns, start = [], 0
    for size in layout["sizes"]:
        columns.append(outputs[:, start : start + size].argmax(axis=1).tolist())
        start += size
    means = outputs[:, start : start + layout["numbers"]].tolist()
    return [[*choices, *numbers] for *choices, numbers in zip(*columns, means)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("path", type=pathlib.Path, help="a run folder, or one of its checkpoints")
    parser.add_argument("--observations", type=pathlib.Path, help="JSON file of observations")
    args = parser.parse_args()
    checkpoint, config = find(args.path)
    tensors = load_file(checkpoint / "weights.safetensors")
    if args.observations is None:
        for name, tensor in tensors.items():
            print(f"{name:<20} {list(tensor.shape)}")
        return
    observations = np.array(json.loads(args.observations.read_text()), dtype=np.float32)
    logits, values = network(tensors, config, observations)
    layout = json.loads((checkpoint / "manifest.json").read_text())["actions"]
    actions = most_likely(logits, layout)
    print(json.dumps({"logits": logits.tolist(), "values": values.tolist(), "actions": actions}))


if __name__ == "__main__":
    main()
