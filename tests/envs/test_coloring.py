"""k-coloring (appendix A.2): its law against plain loops, the closed form of J, and proper colorings."""

import itertools
import math
from typing import Any

import jaxtyping
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import Coloring
from marl.policies import StateIndependentSoftmax
from marl.testing import check_environment, random_inputs

GRAPHS = {
    "triangle": Network.ring(3),
    "path": Network.line(4),
    "ring": Network.ring(5),
    "isolated": Network.from_edges(4, [(0, 2), (2, 3)]),
    "no edges": Network.from_edges(2, []),
    "star": Network.from_edges(6, [(3, j) for j in (0, 1, 2, 4, 5)]),
}


@pytest.fixture(params=GRAPHS, ids=list(GRAPHS))
def network(request: pytest.FixtureRequest) -> Network:
    return GRAPHS[request.param]


def alone(network: Network, colors: list[int], i: int) -> bool:
    """Whether no neighbor of i has its color, by the list of edges."""
    return not any(i in edge and colors[edge[0]] == colors[edge[1]] for edge in network.edges.tolist())


@pytest.mark.parametrize("colors", [1, 2, 3])
def test_contract(network: Network, colors: int) -> None:
    env = Coloring(network, colors)
    assert (env.private_actions, env.private_rewards) == (True, True)
    assert (env.num_states.tolist(), env.num_actions.tolist()) == ([2 * colors] * env.n, [colors] * env.n)
    assert env.action_mask.all()
    check_environment(env, draws=2_000)


def test_the_law_in_plain_loops(network: Network) -> None:
    env = Coloring(network, 3)
    s, a, u = random_inputs(env, 50, 0)
    law, reward, s_next = env.transition(s, a), env.reward(s, a), env.step(s, a, u)[0]
    bits = set()
    for b, i in itertools.product(range(50), range(env.n)):
        colors = [int(x) // 2 for x in s[b]]
        bit = int(alone(network, colors, i))
        bits.add(bit)
        sure = [0.0] * 6
        sure[2 * int(a[b, i]) + bit] = 1.0
        assert law[b, i].tolist() == sure
        assert s_next[b, i] == 2 * int(a[b, i]) + bit
        assert reward[b, i] == int(s[b, i]) % 2
    assert bits == ({0, 1} if len(network.edges) else {1})


def test_proper_colorings(network: Network) -> None:
    """... which are those that give every agent its bit, whatever is done next."""
    env = Coloring(network, 3)
    every = torch.tensor(list(itertools.product(range(3), repeat=env.n)))
    expected = [all(alone(network, colors, i) for i in range(env.n)) for colors in every.tolist()]
    assert env.proper(every).tolist() == expected
    assert any(expected)
    assert not all(expected) or not len(network.edges)
    s_next = env.step(2 * every, torch.zeros_like(every), torch.zeros(*every.shape, 1, dtype=torch.float64))[0]
    assert torch.equal(env.proper(every), (s_next % 2 == 1).all(dim=-1))
    assert env.proper(every[0]).shape == ()
    assert env.proper(every.reshape(3, -1, env.n).int()).flatten().tolist() == expected


@pytest.mark.parametrize(("colors", "possible"), [(2, False), (3, True)])
def test_an_odd_ring_needs_three_colors(colors: int, possible: bool) -> None:
    env = Coloring("ring:5", colors)
    every = torch.tensor(list(itertools.product(range(colors), repeat=5)))
    assert bool(env.proper(every).any()) is possible


def test_average_reward_has_the_closed_form_of_appendix_a2(network: Network) -> None:
    """J = (1/n) sum_i sum_u zeta_i(u) prod_{j~i} (1 - zeta_j(u)): colors are drawn anew, bits are theirs a step later."""
    env = Coloring(network, 3)
    policy = StateIndependentSoftmax(env)
    draw = torch.Generator().manual_seed(0)
    policy.theta.data.copy_(torch.randn(policy.theta.shape, generator=draw, dtype=torch.float64))
    zeta = policy.probs(torch.zeros(1, env.n, dtype=torch.int64))[0].tolist()
    near = [[j for edge in network.edges.tolist() if i in edge for j in edge if j != i] for i in range(env.n)]
    closed = sum(zeta[i][u] * math.prod(1 - zeta[j][u] for j in near[i]) for i in range(env.n) for u in range(3)) / env.n
    every = torch.tensor(list(itertools.product(range(3), repeat=env.n)))
    weight = torch.tensor([math.prod(zeta[i][u] for i, u in enumerate(colors)) for colors in every.tolist()])
    chance_of_bit = env.transition(2 * every, every)[..., 1::2].sum(dim=-1)
    assert float((weight * chance_of_bit.mean(dim=-1)).sum()) == pytest.approx(closed, rel=1e-6)  # weight is float32


def test_start_is_uniform_over_states() -> None:
    env = Coloring("line:2", 2)
    u = (torch.arange(8, dtype=torch.float64) / 8).reshape(8, 1, 1).expand(8, 2, 1)
    assert env.reset(u)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"colors": 0}, "env.colors must be a whole number of at least 1, got 0"),
        ({"colors": 2.5}, "env.colors must be a whole number"),
        ({"colors": "red"}, "env.colors must be a whole number"),
        ({"colors": 10**6}, "env.colors=1000000 are too many to list for 5 agents"),
        ({"graph": "torus:3x3"}, "env.graph='torus:3x3'"),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        Coloring(**arguments)
