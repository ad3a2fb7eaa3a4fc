"""A batched run equals its solo runs, a run equals itself, and pieces of a run equal the whole."""

from typing import Any

import pytest
import torch
from torch import Tensor

from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.policy import Policy
from marl.critics import NeuralCritic, NeuralStateValue, TabularCritic
from marl.envs import WirelessAccess
from marl.policies import NeighborhoodNeural, NeighborhoodTable, NeuralPolicy, TabularSoftmax
from marl.schedulers import Constant
from marl.trainers import CertaintyEquivalence, KappaHopPPO, LocalizedPolicyIteration, ScalableActorCritic
from marl.trainers.actor_critic import ActorCritic

SIZES: dict[str, Any] = {"critic_scheduler": Constant(0.2), "actor_scheduler": Constant(10.0)}
SMALL: dict[str, Any] = {"critic_scheduler": Constant(0.01), "actor_scheduler": Constant(0.1), "rollout": 20}
EAGER: dict[str, Any] = {"engine": "autograd", **SIZES}
Setting = tuple[type[ActorCritic], type[Policy], type[Critic], dict[str, Any], dict[str, Any]]
SETTINGS: dict[str, Setting] = {  # of the critic, of the trainer
    "dense": (ScalableActorCritic, TabularSoftmax, TabularCritic, {"storage": "dense"}, {"rescale": True, **EAGER}),
    "fused": (
        ScalableActorCritic,
        TabularSoftmax,
        TabularCritic,
        {"kappa": 1, "storage": "hash"},
        {"rescale": True, "engine": "fused", **SIZES},
    ),
    "hash": (
        ScalableActorCritic,
        TabularSoftmax,
        TabularCritic,
        {"kappa": 1, "storage": "hash", "dummy": 1},
        {"rescale": True, **EAGER},
    ),
    "neural": (ScalableActorCritic, NeuralPolicy, NeuralCritic, {"kappa": 1}, EAGER),
    "kappa-hop PPO": (KappaHopPPO, NeighborhoodNeural, NeuralStateValue, {"kappa": 1}, {"engine": "autograd", **SMALL}),
    "kappa-hop PPO, fused": (KappaHopPPO, NeighborhoodNeural, NeuralStateValue, {"kappa": 1}, {"engine": "fused", **SMALL}),
    "policy iteration": (LocalizedPolicyIteration, NeighborhoodTable, NeuralStateValue, {"kappa": 1}, SMALL),
    "policy iteration, soft": (
        LocalizedPolicyIteration,
        NeighborhoodTable,
        NeuralStateValue,
        {"kappa": 1},
        {"improvement": "soft", "schedule": "in_turn", **SMALL},
    ),
    "policy iteration, imagined": (
        CertaintyEquivalence,
        NeighborhoodTable,
        NeuralStateValue,
        {"kappa": 1},
        {"planning": 2, "branches": 3, "horizon": 4, "prior": 1.0, **SMALL, "rollout": 30},
    ),
}
REPLICAS = 8


def make(env: Environment, name: str, seed: int, replicas: int, **run: Any) -> ActorCritic:
    trainer, policy, critic, options, settings = SETTINGS[name]
    if trainer is CertaintyEquivalence:  # its tables are of joint pairs
        env = WirelessAccess(rows=1, cols=3, access_points="corners")
    parts = policy(env, replicas=replicas, seed=seed), critic(env, replicas=replicas, seed=seed, **options)
    return trainer(env, *parts, seed=seed, **settings, **run)


def learned(trainer: ActorCritic) -> dict[str, Tensor]:
    """Everything learned, by replica: policy parameters, mu, and Q at 200 fixed random joint pairs."""
    env = trainer.env
    generator = torch.Generator().manual_seed(1)
    s = torch.randint(0, 4, (200, 1, env.n), generator=generator)
    a = torch.randint(0, 5, (200, 1, env.n), generator=generator) % env.action_mask.sum(dim=2)[torch.arange(env.n), s]
    shape = (trainer.replicas, env.n)
    with torch.no_grad():
        q = torch.stack([trainer.critic.q(x.expand(shape), y.expand(shape)) for x, y in zip(s, a, strict=True)], dim=1)
        visited = trainer.critic.q(trainer.s, trainer.a)
    return {"mu": trainer.critic.mu, "q": q, "q_visited": visited, "s": trainer.s, "a": trainer.a} | {
        name: parameter.detach() for name, parameter in trainer.policy.named_parameters()
    }


@pytest.mark.parametrize("name", list(SETTINGS))
def test_batched_equals_solo(small: WirelessAccess, name: str) -> None:
    """Adam divides by the size of gradients, so rounding grows more than elsewhere."""
    batched = make(small, name, seed=5, replicas=REPLICAS)
    rounding = 1e-8 if "PPO" in name or "iteration" in name else 1e-10
    batched.run(150)
    together = learned(batched)
    for b in range(REPLICAS):
        solo = make(small, name, seed=5 + b, replicas=1)
        solo.run(150)
        for key, alone in learned(solo).items():
            torch.testing.assert_close(
                together[key][b : b + 1], alone, rtol=0, atol=rounding, msg=lambda m, key=key: f"{key}: {m}"
            )
    parameters = [together[name] for name, _ in batched.policy.named_parameters()]
    assert all((parameter[0] != parameter[1]).any() for parameter in parameters), "replicas must differ"


@pytest.mark.parametrize("name", list(SETTINGS))
def test_same_seed_same_bits(small: WirelessAccess, name: str) -> None:
    runs = [make(small, name, seed=2, replicas=2) for _ in range(2)]
    for trainer in runs:
        trainer.run(150)
    first, second = map(learned, runs)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_pieces_and_state_dict_equal_the_whole(small: WirelessAccess, name: str) -> None:
    whole = make(small, name, seed=2, replicas=2)
    whole.run(120)
    part = make(small, name, seed=2, replicas=2)
    part.run(50)
    part.evaluate(40)  # must not disturb training
    part.run(1)
    rest = make(small, name, seed=2, replicas=2)
    rest.load_state_dict(part.state_dict())
    rest.run(69)
    expected, found = learned(whole), learned(rest)
    assert all(torch.equal(expected[key], found[key]) for key in expected)


class Collected:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float]] = []

    def log(self, step: int, metrics: Any) -> None:
        self.rows.append((step, float(metrics["train/average_reward"][0])))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_log_points_do_not_depend_on_the_pieces(small: WirelessAccess) -> None:
    curves = []
    for pieces in ([90], [13, 30, 47]):
        kept = Collected()
        trainer = make(small, "dense", seed=0, replicas=1, log_every=20, loggers=[kept])
        for piece in pieces:
            trainer.run(piece)
        curves.append(kept.rows)
    assert [step for step, _ in curves[0]] == [20, 40, 60, 80]
    assert curves[0] == curves[1]
