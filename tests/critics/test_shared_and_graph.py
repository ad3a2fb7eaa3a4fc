"""Critics with one network for all agents: their formulas in loops, what they see, and many agents."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.critics import GraphCritic, GraphStateValue, NeuralStateValue, SharedCritic, StateValue
from marl.critics.pooling import OthersSum
from marl.envs import WirelessAccess
from marl.testing import random_inputs
from tests.critics.test_critics import shaken

B = 2
KINDS: dict[str, Any] = {
    "shared": SharedCritic,
    "graph": GraphCritic,
    "state value": StateValue,
    "graph value": GraphStateValue,
}


@pytest.fixture
def line() -> WirelessAccess:
    """Five users on a line, of different numbers of states and actions."""
    return WirelessAccess(incidence=[[0], [0, 1], [1, 2], [2, 3], [3]], deadline=[2, 1, 2, 1, 2])


def star() -> WirelessAccess:
    """User 0 shares a point with each of three others; user 4 is alone."""
    return WirelessAccess(incidence=[[0, 1, 2], [0], [1], [2], [3]], deadline=1, arrival=0.5, success=0.5)


def shared_by_hand(critic: Any, symbols: Tensor, b: int, i: int) -> Tensor:
    """Q_i of replica b: w . tanh(W tanh(x_i) + c), x_i summed neighbor by neighbor. Shapes: symbols [n]."""
    index, mask, size = critic.neighborhood
    x = critic.own[b, symbols[i]] + critic.agent[b, i] + critic.degree[b] * int(size[i]) / int(size.max())
    for j in index[i, mask[i]].tolist():
        if j != i:
            x = x + critic.near[b, symbols[j]]
    hidden = [torch.tanh((x.tanh() * critic.layer[b, :, g]).sum() + critic.bias[b, g]) for g in range(len(x))]
    return torch.stack([h * critic.weight[b, g] for g, h in enumerate(hidden)]).sum()


def graph_by_hand(critic: Any, z: Tensor, b: int, i: int) -> Tensor:
    """Q_i of replica b, as a recursion over rounds and neighbors. Shapes: z [n]."""
    edges = critic.env.network.edges.tolist()

    def state(j: int, rounds: int) -> Tensor:
        if rounds == 0:
            return critic.embedding[b, z[j]]
        near = [state(k, rounds - 1) for edge in edges if j in edge for k in edge if k != j]
        mean = torch.stack(near).mean(dim=0) if near else torch.zeros_like(critic.embedding[b, 0])
        at = (b, rounds - 1)
        return torch.tanh(state(j, rounds - 1) @ critic.own[at] + mean @ critic.near[at] + critic.bias[at])

    return critic.weight[b] @ state(i, critic.kappa) + critic.agent[b, i]


@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_formula(line: WirelessAccess, kind: str, kappa: int) -> None:
    for env in (line, star()):
        critic = shaken(KINDS[kind](env, kappa=kappa, hidden=3, replicas=B))
        s, a, _ = random_inputs(env, B, 4)
        symbols = s if "value" in kind else env.index.pairs(s, a)
        by_hand = graph_by_hand if kind.startswith("graph") else shared_by_hand
        q = critic.q(s, a)
        for b, i in itertools.product(range(B), range(env.n)):
            assert q[b, i].item() == pytest.approx(by_hand(critic, symbols[b], b, i).item(), abs=1e-13)


@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_they_see_exactly_the_neighborhood(line: WirelessAccess, kind: str, kappa: int) -> None:
    """Q_i changes with the pair of agent j iff j is at most kappa hops from i."""
    critic = shaken(KINDS[kind](line, kappa=kappa, hidden=4, replicas=B))
    s, a, _ = random_inputs(line, B, 0)
    q = critic.q(s, a)
    for j in range(line.n):
        other_s, other_a = s.clone(), a.clone()
        other_s[:, j], other_a[:, j] = (s[:, j] + 1) % line.num_states[j], 0
        changed = critic.q(other_s, other_a) != q
        assert changed.tolist() == [[abs(i - j) <= kappa for i in range(line.n)]] * B


@pytest.mark.parametrize("kappa", [0, 1, 2])
def test_a_state_value_per_agent_by_hand(kappa: int) -> None:
    """V_i = w_i . tanh(sum_j E_ij[s_j]) + b_i, neighbor by neighbor; it starts at zero."""
    env = star()
    assert (NeuralStateValue(env, kappa=kappa, replicas=B).q(*random_inputs(env, B, 4)[:2]) == 0.0).all()
    critic = shaken(NeuralStateValue(env, kappa=kappa, hidden=3, replicas=B))
    index, mask, _ = env.network.neighborhood(kappa)
    s, a, _ = random_inputs(env, B, 4)
    for b, i in itertools.product(range(B), range(env.n)):
        seen = torch.zeros(3, dtype=torch.float64)
        for place, j in enumerate(index[i, mask[i]].tolist()):
            seen = seen + critic.embedding[b, i, place, s[b, j]]
        by_hand = critic.weight[b, i] @ seen.tanh() + critic.bias[b, i]
        assert critic.q(s, a)[b, i].item() == pytest.approx(by_hand.item(), abs=1e-13)


@pytest.mark.parametrize("kind", [StateValue, GraphStateValue, NeuralStateValue])
def test_a_state_value_ignores_actions(line: WirelessAccess, kind: type[StateValue]) -> None:
    s, a, _ = random_inputs(line, B, 0)
    value, q = shaken(kind(line, kappa=1, replicas=B)), shaken(SharedCritic(line, kappa=1, replicas=B))
    silent = torch.zeros_like(a)
    assert (a != silent).any()
    assert torch.equal(value.q(s, a), value.q(s, silent))
    assert not torch.equal(q.q(s, a), q.q(s, silent))


@pytest.mark.parametrize("kind", KINDS)
def test_they_start_at_zero_and_apart(line: WirelessAccess, kind: str) -> None:
    batched = KINDS[kind](line, kappa=1, replicas=3, seed=9)
    s, a, _ = random_inputs(line, 3, 1)
    assert (batched.q(s, a) == 0.0).all()
    assert any((parameter[0] != parameter[1]).any() for parameter in batched.parameters())
    with pytest.raises(ConfigError, match=r"critic.hidden must be a whole number of at least 1, got 0"):
        KINDS[kind](line, hidden=0)


@pytest.mark.parametrize("kappa", [0, 1, 2])
def test_the_sum_over_others_is_a_loop_with_its_gradient(kappa: int) -> None:
    """On a star with an agent apart: neighborhoods of one, few and many."""
    network = Network.from_edges(6, [(0, 1), (0, 2), (0, 3), (3, 4)])
    neighborhood = network.neighborhood(kappa)
    others = OthersSum(neighborhood)
    near = [[j for j in range(6) if j != i and 0 <= int(network.distances(i)[j]) <= kappa] for i in range(6)]
    x = torch.randn(2, 3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    expected = torch.stack([x[..., js, :].sum(dim=-2) for js in near], dim=-2)
    torch.testing.assert_close(others(x), expected, rtol=0, atol=1e-14)
    assert others.count.tolist() == [len(js) for js in near]
    assert torch.autograd.gradcheck(others, x[:1, :1])
    assert torch.autograd.gradgradcheck(others, x[:1, :1])


@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_agents(kind: str) -> None:
    """Forward and backward at n = 2,500 and kappa = 2, where a matrix of agents by agents would take 50 MB."""
    env = WirelessAccess(rows=50, cols=50, arrival=0.5, success=0.5)
    critic = shaken(KINDS[kind](env, kappa=2))
    s, a, _ = random_inputs(env, 1, 0)
    q = critic.q(s, a)
    q.sum().backward()
    assert q.shape == (1, 2500)
    for parameter in critic.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0.0


def test_they_are_no_tables(line: WirelessAccess) -> None:
    assert GraphCritic(line).table is SharedCritic(line).table is None
