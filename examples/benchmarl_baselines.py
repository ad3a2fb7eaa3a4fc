"""BenchMARL's IPPO and MAPPO on an environment of this library, to hold beside `marl train method=recommended`.

    python examples/benchmarl_baselines.py env=epidemic --algorithm mappo --frames 100000 --seeds 5 --out outputs/benchmarl
    marl train method=recommended env=epidemic steps=100000 replicas=5 eval.steps=20000

It wants `pip install 'networked-marl[benchmarl]'`. Overrides are those of `marl train` for the environment. A frame is a
step of the whole network, so as many frames as steps are as much experience; they are rounded up to whole batches of 6,000.
An agent sees its own state and its neighbors', as with method=recommended, and who it is, since all share one network, and
is paid the mean of all rewards. What SETTINGS and the constants do not say is BenchMARL's default (clipping at 0.2,
lambda = 0.9, no entropy). The trained policy is evaluated, with its randomness, by `marl.evaluate`.
Prints rewards per agent and step, and frames per second of the run and of its training loop; writes a JSON file a seed.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from marl import ConfigError, FiniteEnvironment, MarlError, Policy, build, evaluate
from marl.cli.train import compose
from marl.core.checks import integer
from marl.core.environment import finite_environment

MISSING: ImportError | None = None
try:
    from benchmarl.algorithms import IppoConfig, MappoConfig
    from benchmarl.environments import TaskClass
    from benchmarl.experiment import Experiment, ExperimentConfig
    from benchmarl.models import MlpConfig
    from tensordict import TensorDict
    from torchrl.data import Binary, Categorical, Composite, Unbounded
    from torchrl.envs import EnvBase
except ImportError as error:
    MISSING = error
    EnvBase = TaskClass = object  # `observe` needs neither

ENVIRONMENTS, EPISODE, MINIBATCH = 60, 100, 1000
"""Environments side by side, steps after which each is cut (all of them are one batch), and frames of a minibatch."""
SETTINGS = {"gamma": 0.9, "lr": 1e-3, "on_policy_n_minibatch_iters": 4, "share_policy_params": True}
SILENT = {"evaluation": False, "render": False, "loggers": [], "create_json": False}
COPIES, RECORDED, BURN_IN = 20, 1000, 100
"""Of the evaluation: runs side by side, and steps of each that count and that do not."""


def observe(env: FiniteEnvironment, s: Tensor) -> Tensor:
    """Lays out what agents see: own state, states of their neighbors, and who they are, each one-hot and side by side.

    With S states and at most m agents in N_i^1, agent i has m blocks of S entries (its own state first, then its neighbors'
    in increasing order, blocks of zeros where it has fewer than others) and n entries for who it is.
    Shapes: states s [..., n] -> float32 [..., n, m S + n].
    """
    index, mask, _ = env.network.neighborhood(1)
    own = mask & (index == torch.arange(env.n)[:, None])
    order = (mask.int() + own.int()).sort(dim=1, descending=True, stable=True).indices
    seen, there = index.gather(1, order), mask.gather(1, order)
    states = int(env.num_states.max())
    blocks = F.one_hot(torch.where(there, s[..., seen], states), states + 1)[..., :-1]  # the last is no state
    return torch.cat([blocks.flatten(-2).float(), torch.eye(env.n).expand(*s.shape, -1)], dim=-1)


class CopiesEnv(EnvBase):  # type: ignore[misc]
    """These are copies of one environment side by side, in TorchRL's terms, each cut after EPISODE steps and never over.

    Shapes, of the group "agents": observation [B, n, m S + n], action_mask [B, n, A], action [B, n]; of all: reward [B, 1],
    the mean of r_i over agents.
    """

    def __init__(self, env: FiniteEnvironment, copies: int, seed: int):
        super().__init__(batch_size=[copies])
        self.env, self.noise = env, torch.Generator().manual_seed(seed)
        self.s, self.t = torch.zeros(copies, env.n, dtype=torch.int64), torch.zeros(copies, 1, dtype=torch.int64)
        agents, actions = self.s.shape, env.action_mask.shape[2]
        seen = Unbounded(shape=observe(env, self.s).shape)
        legal = Binary(shape=(*agents, actions), dtype=torch.bool)
        of_agents = Composite(observation=seen, action_mask=legal, shape=agents)
        self.observation_spec = Composite(agents=of_agents, shape=[copies])
        chosen = Composite(action=Categorical(actions, shape=agents), shape=agents)
        self.action_spec = Composite(agents=chosen, shape=[copies])
        self.reward_spec = Unbounded(shape=[copies, 1])
        flag = Binary(shape=[copies, 1], dtype=torch.bool)
        self.done_spec = Composite(done=flag, terminated=flag.clone(), truncated=flag.clone(), shape=[copies])

    def _uniforms(self) -> Tensor:
        return torch.rand(*self.s.shape, self.env.num_uniforms, dtype=torch.float64, generator=self.noise)

    def _found(self, **more: Tensor) -> "TensorDict":
        legal = self.env.action_mask[torch.arange(self.env.n), self.s]
        agents = TensorDict({"observation": observe(self.env, self.s), "action_mask": legal}, self.s.shape)
        cut = self.t >= EPISODE
        flags = {"done": cut, "terminated": torch.zeros_like(cut), "truncated": cut}
        return TensorDict({"agents": agents, **flags, **more}, self.batch_size)

    def _reset(self, tensordict: "TensorDict | None", **_: Any) -> "TensorDict":
        asked = None if tensordict is None else tensordict.get("_reset", None)
        anew = torch.ones_like(self.t, dtype=torch.bool) if asked is None else asked.view_as(self.t)
        self.s = torch.where(anew, self.env.reset(self._uniforms()), self.s)
        self.t = torch.where(anew, 0, self.t)
        return self._found()

    def _step(self, tensordict: "TensorDict") -> "TensorDict":
        self.s, r = self.env.step(self.s, tensordict["agents", "action"], self._uniforms())
        self.t = self.t + 1
        return self._found(reward=r.mean(dim=1, keepdim=True).float())

    def _set_seed(self, seed: int | None) -> None:
        self.noise.manual_seed(0 if seed is None else seed)


class NetworkTask(TaskClass):  # type: ignore[misc]
    """This is what BenchMARL asks about an environment, which is `config["env"]`. MAPPO's critic sees all observations."""

    def get_env_fun(self, num_envs: int, continuous_actions: bool, seed: int, device: Any) -> Callable[[], CopiesEnv]:
        return lambda: CopiesEnv(self.config["env"], num_envs, seed)

    def group_map(self, env: Any) -> dict[str, list[str]]:
        return {"agents": [f"agent_{i}" for i in range(self.config["env"].n)]}

    def action_spec(self, env: Any) -> Any:
        return env.full_action_spec_unbatched

    def observation_spec(self, env: Any, but: str = "action_mask") -> Any:
        spec = env.full_observation_spec_unbatched.clone()
        del spec["agents", but]
        return spec

    def action_mask_spec(self, env: Any) -> Any:
        return self.observation_spec(env, but="observation")

    def max_steps(self, env: Any) -> int:
        return EPISODE

    def supports_discrete_actions(self) -> bool:
        return True

    def none(self, env: Any = None) -> None:
        return None

    supports_continuous_actions = has_render = state_spec = info_spec = none

    @staticmethod
    def env_name() -> str:
        return "marl"


class Trained(Policy):
    """This is what BenchMARL trained, as a policy of this library: `network` makes logits of observations."""

    hops = 1

    def __init__(self, env: FiniteEnvironment, network: nn.Module, **run: Any):
        super().__init__(env, **run)
        self.network = network

    def _logits(self, s: Tensor) -> Tensor:
        seen = TensorDict({"agents": TensorDict({"observation": observe(self.env, s)}, s.shape)}, s.shape[:-1])
        return self.network(seen)["agents", "logits"]


def train(env: FiniteEnvironment, algorithm: str, frames: int, seed: int) -> tuple[Policy, dict[str, Any]]:
    """Trains from scratch: the policy, for COPIES side by side, and how many frames there were, in all and per second."""
    started = time.perf_counter()
    batch = {"on_policy_n_envs_per_worker": ENVIRONMENTS, "on_policy_collected_frames_per_batch": ENVIRONMENTS * EPISODE}
    settings = {**SETTINGS, **SILENT, **batch, "on_policy_minibatch_size": MINIBATCH, "max_n_frames": frames}
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(
            task=NetworkTask("network", {"env": env}),
            algorithm_config={"ippo": IppoConfig, "mappo": MappoConfig}[algorithm].get_from_yaml(),
            model_config=MlpConfig(num_cells=[64, 64], layer_class=nn.Linear, activation_class=nn.Tanh),
            config=dataclasses.replace(ExperimentConfig.get_from_yaml(), save_folder=folder, **settings),
            seed=seed,
        )
        experiment.run()
    taken = experiment.total_frames
    rates = taken / (time.perf_counter() - started), taken / experiment.total_time
    counted = {"frames": taken, "frames_per_second": rates[0], "training_frames_per_second": rates[1]}
    return Trained(env, experiment.group_policies["agents"].module[0], replicas=COPIES), counted


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of marl train, for the environment: env=epidemic env.graph=ring:10")
    parser.add_argument("--algorithm", choices=("ippo", "mappo"), default="ippo")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=5, help="so many runs, one after the other, with the seeds 0, 1, ...")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarl"))
    asked = parser.parse_intermixed_args(words)
    if MISSING is not None:
        raise ConfigError(f"BenchMARL cannot be imported ({MISSING}); pip install 'networked-marl[benchmarl]' installs it")
    frames, seeds = integer("--frames", asked.frames, 1), integer("--seeds", asked.seeds, 1)
    torch.set_num_threads(1)  # small tensors are fastest so
    env = finite_environment(build.environment(compose(asked.overrides)), "BenchMARL")
    packages = ("networked-marl", "benchmarl", "torchrl", "tensordict", "torch")
    head = {"algorithm": asked.algorithm, "overrides": asked.overrides, "date": datetime.date.today().isoformat()}
    head["versions"] = {name: importlib.metadata.version(name) for name in packages}
    asked.out.mkdir(parents=True, exist_ok=True)
    rewards = []
    for seed in range(seeds):
        policy, counted = train(env, asked.algorithm, frames, seed)
        found = evaluate(env, policy, steps=RECORDED, burn_in=BURN_IN, seed=COPIES * seed)
        rewards.append(found.average_reward.mean().item())
        name = ",".join([asked.algorithm, *asked.overrides, f"seed={seed}"]).replace("/", "_")
        result = {**head, "seed": seed, "average_reward": rewards[-1], **counted}
        (asked.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        rates = "{frames} frames, {frames_per_second:.0f} a second, {training_frames_per_second:.0f} in the training loop"
        print(f"{name}: average reward {rewards[-1]:.4f}, {rates.format(**counted)}")
    print(f"average reward {statistics.fmean(rewards):.4f}, mean over {seeds} seeds, in {asked.out}")


if __name__ == "__main__":
    try:
        main()
    except MarlError as error:
        sys.exit(f"benchmarl_baselines: {error}")
