# The loop that a program of its own would have: the environment's vector implementation, random actions,
# nothing else. Arguments: source (gym, envpool), name, environments, options as JSON; then messages of 48 bytes: seconds
# to loop for, or `step` for one step.
import json, os, sys, time
import gymnasium as gym
import numpy as np
source, name, envs, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
module, _, name = name.rpartition(":")
if module:
    __import__(module)
if source == "envpool":
    import envpool
    game = name.removeprefix("ALE/")
    # As the worker has it.
    options = dict(num_threads=1) | (dict(stack_num=1) if game != name else {}) | options
    env = envpool.make_gymnasium(game, num_envs=envs, seed=1, **options)
    actions = [np.array([env.action_space.sample() for _ in range(envs)]) for _ in range(256)]
    env.reset()
else:
    if name.startswith("ALE/"):
        import ale_py
        gym.register_envs(ale_py)
        # As the worker has it.
        if "obs_type" in options:
            options = dict(vectorization_mode="sync", repeat_action_probability=0.0) | options
        else:
            options = dict(stack_num=1, num_threads=1, reward_clipping=False, repeat_action_probability=0.0) | options
    env = gym.make_vec(name, num_envs=envs, **options)
    actions = [env.action_space.sample() for _ in range(256)]
    env.reset(seed=1)
for step in range(50):
    env.step(actions[step])
print("ready", flush=True)
asked = 0
while message := os.read(0, 48):
    if message.startswith(b"step"):
        env.step(actions[asked & 255])
        asked += 1
        os.write(1, b"done")
        continue
    steps, started, seconds = 0, time.perf_counter(), float(message)
    while time.perf_counter() - started < seconds:
        for _ in range(16):
            env.step(actions[steps & 255])
            steps += 1
    print(steps * envs / (time.perf_counter() - started), flush=True)
