"""A.2: the average reward of k-coloring in closed form, and J = 1 exactly for proper colorings."""

from itertools import product

import numpy as np
import pytest
import torch

from marl.core.network import Network
from marl.envs import Coloring
from marl.exact import AverageValues, Chain, gradient
from marl.policies import StateIndependentSoftmax
from tests.paper import oracle
from tests.paper.instances import randomized

GRAPHS = {
    "triangle": Network.ring(3),
    "path": Network.line(4),
    "random": Network.from_edges(5, [(0, 1), (0, 3), (1, 2), (1, 3), (2, 4)]),
    "isolated": Network.from_edges(3, [(0, 2)]),
}


def neighbors(network: Network) -> list[list[int]]:
    graph = network.to_networkx()
    return [sorted([i, *graph[i]]) for i in range(network.n)]


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("colors", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_closed_form(graph: str, colors: int, seed: int) -> None:
    env = Coloring(GRAPHS[graph], colors)
    policy = randomized(StateIndependentSoftmax(env, replicas=2), seed)
    zeta = policy.probs(torch.zeros(2, env.n, dtype=torch.int64))[1].tolist()
    chain = Chain(env, policy, replica=1)
    J = float(AverageValues(chain).J.mean())  # noqa: N806
    assert abs(J - oracle.coloring_average(neighbors(env.network), zeta)) < 1e-11


@pytest.mark.parametrize("graph", ["triangle", "path"])
def test_gradient_of_the_closed_form(graph: str) -> None:
    """Lemma 1 against differences of the closed form."""
    env = Coloring(GRAPHS[graph], 2)
    policy = randomized(StateIndependentSoftmax(env))
    theta = policy.get_parameter("theta").detach()[0].clone()
    found = gradient(Chain(env, policy))["theta"]
    for i, u in product(range(env.n), range(2)):
        sides = []
        for step in (1e-5, -1e-5):
            moved = theta.clone()
            moved[i, u] += step
            sides.append(oracle.coloring_average(neighbors(env.network), moved.softmax(dim=-1).tolist()))
        assert float(found[i, u]) == pytest.approx((sides[0] - sides[1]) / 2e-5, abs=1e-9)


@pytest.mark.parametrize(("graph", "colors", "proper"), [("triangle", 3, 6), ("triangle", 2, 0), ("isolated", 2, 4)])
def test_j_is_1_exactly_for_proper_colorings(graph: str, colors: int, proper: int) -> None:
    """All deterministic policies, one by one: J = 1, or at least two of three agents go without reward."""
    env = Coloring(GRAPHS[graph], colors)
    colorings = list(product(range(colors), repeat=env.n))
    policy = StateIndependentSoftmax(env, replicas=len(colorings))
    with torch.no_grad():
        policy.theta.scatter_(-1, torch.tensor(colorings)[..., None], 40.0)
    found = []
    for replica, colors_of in enumerate(colorings):
        J = float(AverageValues(Chain(env, policy, replica=replica)).J.mean())  # noqa: N806
        good = all(colors_of[i] != colors_of[j] for i, j in env.network.edges.tolist())
        assert bool(env.proper(torch.tensor(colors_of))) == good
        assert (abs(J - 1) < 1e-9) if good else (J < 1 / 3 + 1e-9)
        found.append(good)
    assert sum(found) == proper


def test_triangle_by_hand() -> None:
    """Uniform play with k colors on a triangle: J = (1 - 1/k)^2."""
    for colors in (1, 2, 3, 4):
        env = Coloring(Network.ring(3), colors)
        values = AverageValues(Chain(env, StateIndependentSoftmax(env)))
        np.testing.assert_allclose(values.J, (1 - 1 / colors) ** 2, atol=1e-12)
