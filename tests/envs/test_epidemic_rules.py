"""The rules of the epidemic: by hand, exact values on a ring of six, centrality against networkx, refusals."""

import math

import jaxtyping
import networkx as nx
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.core.rule import DeterministicRule
from marl.envs import Coloring, Epidemic
from marl.envs.epidemic import (
    AlwaysShield,
    NeverShield,
    ShieldByCentrality,
    ShieldByDegree,
    ShieldIfNeighborInfected,
    eigenvector_centrality,
)
from marl.testing import random_inputs
from marl.trainers.rollout import Collector
from tests.envs.joint import average_reward

RULES: list[type[DeterministicRule]] = [
    NeverShield,
    AlwaysShield,
    ShieldIfNeighborInfected,
    ShieldByDegree,
    ShieldByCentrality,
]
HUB = Network.from_edges(6, [(0, 1), (0, 2), (0, 3), (3, 4)])
"""Agent 5 has no neighbors."""


def chosen(policy: DeterministicRule, s: list[int]) -> list[int]:
    probs = policy.probs(torch.tensor([s]))[0]
    assert ((probs == 0) | (probs == 1)).all()
    return probs.argmax(dim=1).tolist()


def test_by_hand() -> None:
    env = Epidemic(HUB, waning=0.1)
    for s in [0] * 6, [1] * 6, [2, 1, 0, 2, 1, 0]:
        assert chosen(NeverShield(env), s) == [0] * 6
        assert chosen(AlwaysShield(env), s) == [1] * 6
    rule = ShieldIfNeighborInfected(env)
    assert chosen(rule, [0, 0, 0, 0, 0, 1]) == [0] * 6
    assert chosen(rule, [1, 0, 0, 0, 0, 0]) == [0, 1, 1, 1, 0, 0]
    assert chosen(rule, [1, 0, 2, 1, 0, 0]) == [1, 1, 1, 1, 1, 0]  # an infected one shields itself too
    assert chosen(rule, [2, 2, 2, 2, 1, 2]) == [0, 0, 0, 1, 0, 0]  # a recovered neighbor does not count, oneself does not
    assert chosen(ShieldByDegree(env, threshold=1.0), [0] * 6) == [1, 0, 0, 1, 0, 0]
    assert chosen(ShieldByDegree(env), [1] * 6) == [1, 0, 0, 0, 0, 0]
    assert chosen(ShieldByDegree(env, threshold=3.0), [1] * 6) == [0] * 6  # three neighbors are not more than three


def test_exact_values_on_a_ring_of_six() -> None:
    env = Epidemic()
    assert average_reward(env, ShieldIfNeighborInfected(env)) == pytest.approx(-0.0450, abs=5e-5)
    for fewer in NeverShield(env), ShieldByDegree(env, threshold=2.0), ShieldByCentrality(env, threshold=1.0):
        assert average_reward(env, fewer) == pytest.approx(-0.6492, abs=5e-5)
    for all_ in AlwaysShield(env), ShieldByDegree(env, threshold=1.0), ShieldByCentrality(env, threshold=0.9):
        assert average_reward(env, all_) == pytest.approx(-0.2 - 0.01 / 0.31, abs=1e-12)  # import alone


def test_the_hub_is_the_one_to_shield() -> None:
    """A star of five: the rule by degree shields the center, which every infection has to pass."""
    env = Epidemic(Network.from_edges(5, [(0, j) for j in range(1, 5)]))
    never, center = average_reward(env, NeverShield(env)), average_reward(env, ShieldByDegree(env))
    assert center > never + 0.2
    assert average_reward(env, ShieldByCentrality(env, threshold=0.6)) == pytest.approx(center, abs=1e-12)


def test_any_leading_axes_and_nobody_is_seen_from_afar() -> None:
    env = Epidemic(HUB)
    s = random_inputs(env, 24, 0).s
    for kind in RULES:
        rule = kind(env, replicas=2)
        a = rule.probs(s.reshape(3, 4, 2, 6)).argmax(dim=-1)
        assert torch.equal(a, torch.stack([rule.probs(x) for x in s.reshape(12, 2, 6)]).argmax(dim=-1).reshape(a.shape))
        assert rule.hops == (1 if kind is ShieldIfNeighborInfected else 0)
        assert (Collector(env, rule).compiled_step() is not None) == rule.localized


@pytest.mark.parametrize("graph", ["karate", "star", "path", "two parts"])
def test_centrality_is_that_of_networkx(graph: str) -> None:
    made = {
        "karate": nx.Graph(nx.karate_club_graph().edges),
        "star": nx.star_graph(6),
        "path": nx.path_graph(9),
        "two parts": nx.disjoint_union(nx.complete_graph(4), nx.star_graph(4)),
    }[graph]
    draw = np.random.default_rng(1)
    for e in sorted(tuple(sorted(e)) for e in made.edges):
        made.edges[e]["weight"] = draw.random()
    network = Network.from_networkx(made)
    weights = [made.edges[e]["weight"] for e in map(tuple, network.edges.tolist())]
    for w, name in (1.0, None), (weights, "weight"):
        found = nx.eigenvector_centrality(made, max_iter=100_000, tol=1e-13, weight=name)
        expected = torch.tensor([found[i] for i in range(network.n)], dtype=torch.float64)
        ours = eigenvector_centrality(Epidemic(network, weights=w))
        torch.testing.assert_close(ours, expected / expected.max(), rtol=0.0, atol=1e-7)


def test_centrality_of_a_star_and_of_no_edges() -> None:
    n = 100_001
    star = Epidemic(Network.from_edges(n, np.stack([np.zeros(n - 1, dtype=np.int64), np.arange(1, n)], axis=1)))
    assert eigenvector_centrality(star)[:2].tolist() == pytest.approx([1.0, 1e5**-0.5], abs=1e-8)
    s = torch.zeros(1, star.n, dtype=torch.int64)
    s[0, 7] = 1
    near = ShieldIfNeighborInfected(star)._choose(s)
    assert near.nonzero().tolist() == [[0, 0]]
    assert ShieldByCentrality(star)._choose(s).nonzero().tolist() == [[0, 0]]
    assert eigenvector_centrality(Epidemic(Network.from_edges(3, []))).tolist() == [1.0] * 3


def test_centrality_that_does_not_settle_is_refused() -> None:
    with pytest.raises(ConfigError, match="the eigenvector centrality of this graph of 600 agents has not settled after"):
        ShieldByCentrality(Epidemic("line:600"))


@pytest.mark.parametrize("kind", RULES)
def test_another_system_is_refused(kind: type[DeterministicRule]) -> None:
    with pytest.raises(ConfigError, match=f"{kind.__name__} is a rule for Epidemic, not for Coloring"):
        kind(Coloring())


@pytest.mark.parametrize(
    ("kind", "threshold", "words"),
    [
        (ShieldByDegree, -1, r"policy.threshold must be a finite number in \[0, inf\], got -1"),
        (ShieldByDegree, math.nan, r"policy.threshold must be a finite number in \[0, inf\], got nan"),
        (ShieldByCentrality, 1.5, r"policy.threshold must be a finite number in \[0, 1\], got 1.5"),
        (ShieldByCentrality, "high", r"policy.threshold must be a finite number in \[0, 1\], got 'high'"),
    ],
)
def test_thresholds_that_are_none(
    monkeypatch: pytest.MonkeyPatch, kind: type[DeterministicRule], threshold: float, words: str
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        kind(Epidemic(), threshold=threshold)
