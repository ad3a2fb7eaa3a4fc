"""Lemma 2: (a) |Q_i - Qtilde_i| <= c rho^(kappa+1); (b) ||h_i - grad_i J|| <= L_i times as much."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.exact import approximate_gradient, certificate, gradient, truncated_q
from tests.paper import oracle
from tests.paper.instances import CASES, WEAK, Case, every_case, in_oracle_coordinates, weak_cases
from tests.paper.oracle import Part

KINDS = ["stationary", "uniform", "random", "random-per-agent", "one-point"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def measure(case: Case, kind: str) -> torch.Tensor | None:
    """What truncated_q takes for weights: a measure over Z, or one for each agent."""
    size, draw = len(oracle.all_pairs(case.model)), np.random.default_rng(2)
    if kind == "one-point":  # (5) is Q_i at one outside pair; uniform where the inside pair has measure zero
        return torch.eye(size, dtype=torch.float64)[size // 2]
    return {
        "stationary": None,
        "uniform": torch.ones(size),
        "random": torch.from_numpy(draw.random(size)),
        "random-per-agent": torch.from_numpy(draw.random((case.env.n, size))),
    }[kind]


def weights(case: Case, kind: str, kappa: int) -> Callable[[int, Part, Part], float]:
    """The same as w_i(outside; inside) of (6), written out."""
    given = measure(case, kind)
    table = oracle.stationary_pairs(case.model) if given is None else given.numpy()
    pairs, model = oracle.all_pairs(case.model), case.model
    shares: dict[tuple[int, Part, Part], float] = {}
    for i in range(model.n):
        groups: dict[Part, list[tuple[Part, float]]] = {}
        for k, z in enumerate(pairs):
            m = float(table[i][k] if table.ndim == 2 else table[k])
            inside, outside = (oracle.part(z, agents) for agents in (oracle.hops(model, i, kappa), far(case, i, kappa)))
            groups.setdefault(inside, []).append((outside, m))
        for inside, group in groups.items():
            total = sum(m for _, m in group)
            for outside, m in group:
                shares[i, inside, outside] = m / total if total > 0 else 1 / len(group)
    return lambda i, inside, outside: shares[i, inside, outside]


def far(case: Case, i: int, kappa: int) -> list[int]:
    return oracle.outside_agents(case.model, i, kappa)


@every_case
@every_kind
def test_truncated_q_5_and_lemma_2a(case: Case, kind: str) -> None:
    for kappa in range(case.env.n):
        found = truncated_q(case.joint, kappa, measure(case, kind)).numpy()
        exact = oracle.truncated_q(case.model, kappa, weights(case, kind, kappa))
        np.testing.assert_allclose(found, exact, rtol=0.0, atol=1e-10)
        worst = [oracle.worst_left_side(case.model, i, kappa) for i in range(case.env.n)]
        assert (np.abs(found - oracle.q(case.model)) <= np.array(worst) + 1e-10).all()


@every_case
def test_one_weight_at_the_worst_pair_attains_lemma_2a(case: Case) -> None:
    """All weight at the outside of the largest Q_0: the truncation is off by the whole left side of (4) somewhere."""
    measure = torch.from_numpy(np.eye(len(case.joint.q))[int(case.joint.q[:, 0].argmax())])
    error = (truncated_q(case.joint, 0, measure) - case.joint.q)[:, 0].abs().max()
    assert error >= oracle.worst_left_side(case.model, 0, 0) / 2 - 1e-12


@in_oracle_coordinates
@every_kind
def test_approximate_gradient_7(case: Case, kind: str) -> None:
    for kappa in range(case.env.n):
        found = approximate_gradient(case.joint, kappa, measure(case, kind))["theta"]
        exact = oracle.approximate_gradient(
            case.model, kappa, oracle.truncated_q(case.model, kappa, weights(case, kind, kappa))
        )
        for i, h in enumerate(exact):
            np.testing.assert_allclose(found[i, : h.shape[0], : h.shape[1]], h, rtol=0.0, atol=1e-10)


@every_case
def test_the_whole_network_gives_the_gradient_itself(case: Case) -> None:
    for name, h in approximate_gradient(case.joint, case.env.n).items():
        np.testing.assert_allclose(h, gradient(case.joint.chain)[name], rtol=0.0, atol=1e-10)


@weak_cases
@every_kind
def test_lemma_2b(case: Case, kind: str) -> None:
    """How the bound is assembled. grad_i J = E_pi[(1/n) sum_j Q_j grad log zeta_i], all j; (7) has j in N_i^kappa only.

    For j outside, i is outside N_j^kappa, so Qtilde_j does not see z_i, and E[Qtilde_j grad log zeta_i] = 0 because
    E[grad log zeta_i | s] = 0. It can be subtracted from Q_j: h_i - grad_i J = E[(1/n) sum_j (Qtilde_j - Q_j) grad log
    zeta_i] over all j, and |Qtilde_j - Q_j| <= bound_j(kappa) by (a). So sqrt(2) times the mean of all agents' bounds.
    """
    promised = certificate(case.joint.chain.laws, kappas=case.env.n)
    assert promised.bounds is not None
    exact = gradient(case.joint.chain)["theta"]
    for kappa in range(case.env.n):
        h = approximate_gradient(case.joint, kappa, measure(case, kind))["theta"]
        error = (h - exact).flatten(1).norm(dim=1)
        left = np.mean([oracle.worst_left_side(case.model, j, kappa) for j in range(case.env.n)])
        assert (error <= math.sqrt(2) * left + 1e-12).all()
        assert left <= promised.bounds[kappa].mean() + 1e-12
        assert (error <= math.sqrt(2) * promised.bounds[kappa].mean() + 1e-12).all()


def test_how_tight_lemma_2_is() -> None:
    """On the weak line at kappa = 0: (a) within a factor 4 of the certificate, (b) within a factor 2000."""
    case = next(case for case in WEAK if case.name == "weak-line")
    bound = certificate(case.joint.chain.laws).bounds
    assert bound is not None
    left = max(oracle.worst_left_side(case.model, j, 0) for j in range(4))
    assert float(bound[0].max()) / 4 < left
    h, exact = (part["theta"] for part in (approximate_gradient(case.joint, 0), gradient(case.joint.chain)))
    assert float(bound[0].mean()) * math.sqrt(2) / 2000 < (h - exact).flatten(1).norm(dim=1).max()


def test_weights_that_are_not_weights_are_refused() -> None:
    joint = CASES[1].joint
    size = joint.num_pairs
    for wrong in (torch.ones(size + 1), torch.ones(3, size), -torch.ones(size), torch.full((size,), torch.nan)):
        with pytest.raises(ConfigError, match="weights must"):
            truncated_q(joint, 0, wrong)
    with pytest.raises(ConfigError, match="kappa"):
        truncated_q(joint, -1)
