"""Policies that see their neighbors: by plain loops, by finite differences, replica by replica, and as tables."""

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from marl.core import memory
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.critics import AdditiveCritic
from marl.envs import WirelessAccess, random_local_mdp
from marl.policies import NeighborhoodNeural, NeighborhoodSoftmax, NeighborhoodTable, TabularSoftmax
from marl.runs import load_policy
from marl.schedulers import Constant
from marl.testing import random_inputs
from marl.trainers import RolloutActorCritic
from tests import oracles
from tests.cli.command import SMALL, assert_refused, command_in
from tests.policies.test_shared import shaken

B = 2
ENVIRONMENTS: dict[str, Callable[[], Environment]] = {
    "wireless": lambda: WirelessAccess(incidence=[[0], [0, 1], [1, 2], [2, 3], [3]], deadline=[2, 1, 2, 1, 2]),
    "tables": lambda: random_local_mdp("grid:2x2", [2, 3, 1, 4], [2, 1, 3, 2]),
}
KINDS: list[type[Any]] = [NeighborhoodSoftmax, NeighborhoodNeural, NeighborhoodTable]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_environment = pytest.mark.parametrize("name", ENVIRONMENTS)
kappas = pytest.mark.parametrize("kappa", [0, 1, 2])


def around(env: Environment, i: int, kappa: int) -> list[int]:
    """N_i^kappa, by the oracle's breadth-first search."""
    edges = env.network.edges.tolist()
    adjacent = [[j for edge in edges if i in edge for j in edge if j != i] for i in range(env.n)]
    return oracles.hop_neighborhood(adjacent, i, kappa)


def log_linear(policy: Any, s: list[int], b: int, i: int, kappa: int) -> list[float]:
    """sum_j theta_ij[s_i, s_j, a] / sqrt(|N_i|)."""
    members = around(policy.env, i, kappa)
    rows = [policy.theta[b, i, k, s[i], s[j]].tolist() for k, j in enumerate(members)]
    return [math.fsum(row[a] for row in rows) / math.sqrt(len(members)) for a in range(len(rows[0]))]


def one_layer(policy: Any, s: list[int], b: int, i: int, kappa: int) -> list[float]:
    """W_i tanh(sum_j E_ij[s_j]) + b_i."""
    embedded = [policy.embedding[b, i, k, s[j]].tolist() for k, j in enumerate(around(policy.env, i, kappa))]
    hidden = [math.tanh(math.fsum(row[h] for row in embedded)) for h in range(len(embedded[0]))]
    weight, bias = policy.weight[b, i].tolist(), policy.bias[b, i].tolist()
    return [bias[a] + math.fsum(x * weight[h][a] for h, x in enumerate(hidden)) for a in range(len(bias))]


def full_table(policy: Any, s: list[int], b: int, i: int, kappa: int) -> list[float]:
    """The rows of the agents before i, then those of the joint states of N_i, its first member counted fastest."""
    sizes = policy.env.num_states.tolist()
    row = sum(math.prod(sizes[j] for j in around(policy.env, before, kappa)) for before in range(i))
    stride = 1
    for j in around(policy.env, i, kappa):
        row, stride = row + stride * s[j], stride * sizes[j]
    return policy.theta[b, row].tolist()


FORMULA: dict[type[Any], Callable[..., list[float]]] = {
    NeighborhoodSoftmax: log_linear,
    NeighborhoodNeural: one_layer,
    NeighborhoodTable: full_table,
}


@every_kind
@kappas
@every_environment
def test_logits_are_those_of_the_formula(name: str, kappa: int, kind: type[Any]) -> None:
    """With the steps of a rollout in front; probabilities are their softmax over the legal actions."""
    env = ENVIRONMENTS[name]()
    policy = shaken(kind(env, kappa=kappa, replicas=B))
    s = random_inputs(env, 3 * B, 1)[0].view(3, B, env.n)
    logits, probs = policy._logits(s), policy.probs(s)
    for k, b, i in itertools.product(range(3), range(B), range(env.n)):
        expected = FORMULA[kind](policy, s[k, b].tolist(), b, i, kappa)
        assert logits[k, b, i].tolist() == pytest.approx(expected, abs=1e-13)
        legal = env.action_mask[i, s[k, b, i]].nonzero().flatten().tolist()
        assert probs[k, b, i].tolist() == pytest.approx(oracles.softmax_probs(expected, legal), abs=1e-14)


@every_kind
@kappas
@every_environment
def test_agents_see_their_neighborhood_and_nothing_else(name: str, kappa: int, kind: type[Any]) -> None:
    """Whatever the state of agent j becomes: the logits of i move if and only if j is in N_i^kappa_p."""
    env = ENVIRONMENTS[name]()
    policy = shaken(kind(env, kappa=kappa, replicas=B))
    assert policy.hops == kappa
    assert policy.localized == (kappa == 0)
    s = random_inputs(env, B, 4)[0]
    before = policy._logits(s)
    for j in range(env.n):
        for by in range(1, int(env.num_states[j])):
            other = s.clone()
            other[:, j] = (s[:, j] + by) % env.num_states[j]
            moved = (policy._logits(other) != before).any(dim=-1)
            assert moved.tolist() == [[j in around(env, i, kappa) for i in range(env.n)]] * B


@every_environment
@kappas
def test_the_table_has_one_row_for_every_joint_state(name: str, kappa: int) -> None:
    """No more and no fewer than the joint states of all neighborhoods, and no two of them share one."""
    env = ENVIRONMENTS[name]()
    policy = NeighborhoodTable(env, kappa=kappa, replicas=B)
    everywhere = torch.cartesian_prod(*(torch.arange(size) for size in env.num_states.tolist()))
    seen = {(i, tuple(s[j] for j in around(env, i, kappa))) for s in everywhere.tolist() for i in range(env.n)}
    assert policy.theta.shape == (B, len(seen), env.action_mask.shape[2])
    with torch.no_grad():
        policy.theta.copy_(torch.arange(policy.theta.numel()).view(policy.theta.shape))
    found = policy._logits(everywhere[:, None].expand(-1, B, -1))[..., 0]
    assert len(found.unique()) == B * len(seen)


def trained(kind: type[Any], env: Environment, steps: int, replicas: int = 1, seed: int = 0, **given: Any) -> Any:
    """After rollouts of four steps with an additive critic."""
    trainer = RolloutActorCritic(
        env,
        kind(env, replicas=replicas, seed=seed, **given),
        AdditiveCritic(env, kappa=1, replicas=replicas, seed=seed),
        rollout=4,
        critic_scheduler=Constant(0.3),
        actor_scheduler=Constant(20.0),
        seed=seed,
        log_every=1000,
    )
    trainer.run(steps)
    return trainer


@pytest.mark.parametrize("kind", [NeighborhoodSoftmax, NeighborhoodTable])
@every_environment
def test_zero_hops_are_the_tabular_softmax(name: str, kind: type[Any]) -> None:
    """After training with the same noise."""
    env = ENVIRONMENTS[name]()
    ours, other = trained(kind, env, 200, B, kappa=0), trained(TabularSoftmax, env, 200, B)
    assert torch.equal(ours.s, other.s)
    assert torch.equal(ours.a, other.a)
    held, wanted = ours.policy.theta.detach(), other.policy.theta.detach()
    rows: list[Tensor] = []
    for i, states in enumerate(env.num_states.tolist()):
        if kind is NeighborhoodTable:
            begin = sum(env.num_states[:i].tolist())
            rows.append(held[:, begin : begin + states])
        else:
            rows.append(torch.stack([held[:, i, 0, x, x] for x in range(states)], dim=1))
    for i, found in enumerate(rows):
        assert torch.allclose(found, wanted[:, i, : found.shape[1]], rtol=0.0, atol=1e-12)
    assert float(wanted.abs().max()) > 0.01


def test_a_table_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its number of entries, or by the memory of the machine: nothing is laid out before."""
    advice = re.escape("; use a smaller policy.kappa, fewer replicas or policy=neighborhood_softmax")
    with pytest.raises(ConfigError, match=rf"with 1\.13e\+15 rows at policy\.kappa=2 needs .* than the 2 GiB.*{advice}"):
        NeighborhoodTable(WirelessAccess(), kappa=2)
    with pytest.raises(ConfigError, match=r"over 1e300 rows at policy\.kappa=1 needs over 1e290 GiB"):
        NeighborhoodTable(WirelessAccess(incidence=[[0]] * 600))
    env = ENVIRONMENTS["wireless"]()
    needed = 2 * NeighborhoodTable(env, replicas=B).theta.nbytes
    monkeypatch.setattr(memory, "free", lambda: needed)
    with pytest.raises(ConfigError, match=rf"with 96 rows at .*, and a gradient .* of memory are free{advice}"):
        NeighborhoodTable(env, replicas=B)
    monkeypatch.setattr(memory, "free", lambda: int(1.1 * needed))
    assert NeighborhoodTable(env, replicas=B).theta.nbytes == needed / 2


def test_the_table_from_the_command_line(tmp_path: Path) -> None:
    parts = ("policy=neighborhood_table", "critic=additive", "trainer=rollout_actor_critic", "logger=none")
    with command_in(tmp_path) as marl:
        refused = marl("train", "env.rows=4", "env.cols=5", *parts, "policy.kappa=2", "hydra.run.dir=large")
        assert_refused(refused, "policy=neighborhood_table", "rows at policy.kappa=2", "use a smaller policy.kappa")
        assert not (tmp_path / "large").exists()
        done = marl("train", *SMALL, *parts, "trainer.rollout=8", "hydra.run.dir=run")
    assert done.code == 0, done.err
    policy = load_policy(tmp_path / "run")
    assert isinstance(policy, NeighborhoodTable)
    assert float(policy.theta.detach().abs().max()) > 0.0
