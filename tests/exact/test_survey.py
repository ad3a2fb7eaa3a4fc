"""`survey`: what is promised, what was measured, and the sentence where something is missing."""

import importlib
import math
from typing import Any

import jaxtyping
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import Coloring, WirelessAccess, random_local_mdp
from marl.exact import (
    Certificate,
    Chain,
    Ergodicity,
    LocalLaws,
    Measured,
    Survey,
    certificate,
    coupling_certificate,
    fit,
    measured,
    survey,
)
from marl.policies import RandomTable, StateIndependentSoftmax, Uniform

module = importlib.import_module("marl.exact.survey")  # marl.exact.survey is the function


def columns(*curves: list[float]) -> Measured:
    """One agent per curve."""
    return Measured(list(range(len(curves))), torch.tensor(curves, dtype=torch.float64).T, 3, None)


def instance(graph: str = "line:4", interaction: float = 0.25) -> tuple[Any, Any]:
    env = random_local_mdp(graph, interaction=interaction)
    return env, RandomTable(env)


@pytest.mark.parametrize(
    ("curves", "accuracy", "kappa"),
    [
        ([[1.0, 0.1, 0.01, 0.0]], 0.1, 1),  # at the accuracy is within it
        ([[1.0, 0.1, 0.01, 0.0]], 0.09, 2),
        ([[1.0, 0.1, 0.01, 0.0]], 5.0, 0),
        ([[1.0, 0.1, 0.01, 0.0]], 0.0, 3),
        ([[1.0, 0.001, 0.5, 0.0]], 0.01, 3),  # not the first radius within it: the next one is not
        ([[0.001, 0.001, 0.5, 0.001]], 0.01, 3),
        ([[1.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.0]], 0.15, 3),  # every agent
        ([[1.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.0]], 0.5, 1),
        ([[0.0]], 0.0, 0),
        ([[1.0, 0.5]], 0.1, 2),  # beyond the last column, where nobody is outside
    ],
)
def test_kappa_for_what_was_measured(curves: list[list[float]], accuracy: float, kappa: int) -> None:
    """The smallest kappa from which on nothing measured is above."""
    assert columns(*curves).kappa_for(accuracy) == kappa


def test_kappa_for_a_promise() -> None:
    bounds = torch.tensor([[4.0, 1.0], [0.5, 2.0], [0.5, 0.25], [0.0, 0.0]], dtype=torch.float64)
    promise = Certificate("because", bounds, [0, 1], 0.5, 0.5)
    assert [promise.kappa_for(x) for x in (9.0, 4.0, 2.0, 1.9, 0.5, 0.4, 0.0)] == [0, 0, 1, 2, 2, 3, 3]
    assert promise.certified


def test_no_kappa_without_a_promise() -> None:
    """Uncertified, or bounds that end before they are small enough."""
    env, _ = instance(interaction=1.0)
    nothing = certificate(LocalLaws(env))
    assert (nothing.certified, nothing.kappa_for(math.inf)) == (False, None)
    env, _ = instance()
    short = certificate(LocalLaws(env), kappas=2)
    assert short.bounds is not None
    assert short.bounds.shape == (2, 4)
    assert short.kappa_for(1e-9) is None
    assert short.kappa_for(9.0) == 0


def test_everything_of_a_certified_network() -> None:
    env, policy = instance()
    found = survey(env, policy)
    assert isinstance(found.one_step, Certificate)
    assert isinstance(found.coupling, Certificate)
    assert isinstance(found.measured, Measured)
    assert isinstance(found.mixing, Ergodicity)
    chain = Chain(env, policy)
    one, several = certificate(chain.laws), coupling_certificate(chain.laws, chain.tables, horizon=2)
    assert one.bounds is not None
    assert several.bounds is not None
    assert torch.equal(found.one_step.bounds, one.bounds)
    assert torch.equal(found.coupling.bounds, several.bounds)
    assert torch.equal(found.measured.largest, measured(chain, range(4), 1).largest)
    assert (found.measured.largest <= found.one_step.bounds + 1e-15).all()
    assert (found.measured.largest <= found.coupling.bounds + 1e-15).all()


def test_all_joint_pairs_and_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random ones never exceed the supremum, and `samples` says which of both it was."""
    env, policy = instance()
    everywhere = survey(env, policy, samples=7).measured
    monkeypatch.setattr(module, "FEW_PAIRS", 6**4 - 1)
    sampled, again, other = (survey(env, policy, samples=7, seed=seed).measured for seed in (1, 1, 2))
    assert isinstance(everywhere, Measured)
    assert isinstance(sampled, Measured)
    assert (everywhere.samples, everywhere.curves) == (0, None)
    assert sampled.samples == 7
    assert sampled.curves is not None
    assert sampled.curves.shape == (4, 7, 4)
    assert torch.equal(sampled.largest, sampled.curves.amax(dim=1).T)
    assert (sampled.largest <= everywhere.largest + 1e-12).all()
    assert (sampled.largest < everywhere.largest).any()
    assert torch.equal(sampled.largest, again.largest)
    assert not torch.equal(sampled.largest, other.largest)
    monkeypatch.setattr(module, "FEW_PAIRS", 6**4)
    assert survey(env, policy, samples=7).measured.samples == 0


def test_a_large_network_is_measured_at_the_first_agent_unless_agents_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    env, policy = instance("line:3")
    monkeypatch.setattr(module, "FEW_STATES", 7)
    assert survey(env, policy).measured.agents == [0]
    assert survey(env, policy, agents=[2, 1]).measured.agents == [2, 1]
    assert survey(env, policy).one_step.agents == [0, 1, 2]
    monkeypatch.setattr(module, "FEW_STATES", 8)
    assert survey(env, policy).measured.agents == [0, 1, 2]


def test_radii_end_where_everybody_is_inside() -> None:
    """Agents 1 and 2 of a line of four see all within 2."""
    env, policy = instance()
    found = survey(env, policy, agents=[1, 2])
    for part in (found.one_step.bounds, found.coupling.bounds, found.measured.largest):
        assert part.shape == (3, 2)
        assert (part[-1] == 0.0).all()
        assert (part[:-1] > 0.0).all()


@pytest.mark.parametrize(("horizon", "tried"), [(0, []), (1, []), (2, [2]), (3, [2, 3]), (5, [2, 3])])
def test_the_fewest_steps_that_give_a_certificate(monkeypatch: pytest.MonkeyPatch, horizon: int, tried: list[int]) -> None:
    """Coloring a line of three is certified in three steps: two are tried first, four never."""
    env = Coloring("line:3", 2)
    asked: list[int] = []

    def counted(*arguments: Any, horizon: int, **more: Any) -> Certificate:
        asked.append(horizon)
        return coupling_certificate(*arguments, horizon=horizon, **more)

    monkeypatch.setattr(module, "coupling_certificate", counted)
    found = survey(env, StateIndependentSoftmax(env), horizon=horizon).coupling
    assert asked == tried
    if horizon < 2:
        assert found == "it was not tried (horizon below 2)"
    else:
        assert isinstance(found, Certificate)
        assert found.certified == (horizon >= 3)
        assert f"{min(horizon, 3)}-step" in found.reason


def test_discounting() -> None:
    """Only the one-step certificate knows a discount; the rest says so."""
    env, policy = instance(interaction=1.0)
    found = survey(env, policy, gamma=0.5)
    assert isinstance(found.one_step, Certificate)
    assert found.one_step.certified
    for part in (found.coupling, found.measured, found.mixing):
        assert isinstance(part, str)
        assert "average reward" in part


def test_an_environment_whose_laws_cannot_be_listed() -> None:
    env = WirelessAccess()
    found = survey(env, Uniform(env))
    assert isinstance(found.one_step, str)
    assert "the spectral radius of C is at least 1" in found.one_step
    assert "from random joint pairs" in found.one_step
    assert found.coupling == found.measured == found.mixing
    assert "entries" in found.one_step
    assert "cannot be listed" in str(found.coupling)


def test_an_undecided_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random joint pairs bound C from below only: where they stay below 1 nothing is known, and nothing promised."""
    monkeypatch.setattr("marl.exact.local_laws.MAX_ENTRIES", 1)
    env, policy = instance()
    found = survey(env, policy)
    assert isinstance(found.one_step, str)
    assert found.one_step.startswith("undecided: ")


def test_an_environment_that_can_only_be_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    env = WirelessAccess(rows=1, cols=2, access_points="corners")
    monkeypatch.setattr("marl.exact.local_laws.NetworkedMDP", type(None))
    monkeypatch.setattr(module, "NetworkedMDP", type(None))
    with pytest.raises(ConfigError, match="can only be sampled"):
        survey(env, Uniform(env))


def test_what_is_too_large_is_said_part_by_part() -> None:
    """2^40 joint states: local promises hold, whatever needs the joint state says why it is missing."""
    env = random_local_mdp("line:40", interaction=0.25)
    found = survey(env, Uniform(env), agents=[0])
    assert isinstance(found.one_step, Certificate)
    assert found.one_step.certified
    assert isinstance(found.coupling, Certificate)
    assert found.coupling.certified
    assert "GiB" in str(found.measured)
    assert "GiB" in str(found.mixing)
    env = random_local_mdp("line:12", num_actions=1)
    found = survey(env, Uniform(env), agents=[0], samples=2)
    assert isinstance(found.measured, Measured)
    assert "up to 1024 joint states" in str(found.mixing)


@pytest.mark.parametrize("env", ["weak", "wireless"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gamma", 2.0),
        ("gamma", -0.5),
        ("gamma", math.nan),
        ("gamma", "1"),
        ("horizon", -1),
        ("horizon", 1.5),
        ("samples", 0),
        ("samples", "many"),
        ("memory", -1.0),
        ("memory", "4"),
    ],
)
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_refused(monkeypatch: pytest.MonkeyPatch, env: str, name: str, value: Any, gamma: float) -> None:
    """Whether or not the argument would be needed."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    made = random_local_mdp("line:2", interaction=0.25) if env == "weak" else WirelessAccess()
    with pytest.raises(ConfigError, match=name):
        survey(made, Uniform(made), **{"gamma": gamma, name: value})


@pytest.mark.parametrize("agents", [[4], [-1], [0, 9]])
def test_agents_that_do_not_exist(agents: list[int]) -> None:
    env, policy = instance()
    with pytest.raises(ConfigError, match="there is no agent"):
        survey(env, policy, agents=agents)


def test_a_network_in_pieces() -> None:
    """An agent without neighbors is influenced by nobody: zero from kappa = 0 on."""
    env = random_local_mdp(Network.from_edges(3, [(0, 1)]), interaction=0.25)
    found = survey(env, Uniform(env), agents=[2])
    assert isinstance(found, Survey)
    assert found.one_step.kappa_for(0.0) == 0
    assert found.measured.kappa_for(1e-14) == 0


def test_a_law_through_what_was_measured() -> None:
    """Exactly exponential curves give their own rate; zeros and rounding do not enter."""
    exact = torch.tensor([3.0 * 0.2 ** (kappa + 1) for kappa in range(5)] + [1e-17, 0.0], dtype=torch.float64)
    found = fit(exact)
    assert found.points == 5
    assert (found.rate, found.scale) == (pytest.approx(0.2), pytest.approx(3.0))
    assert math.isnan(fit(torch.zeros(4, dtype=torch.float64)).rate)
    assert fit(torch.tensor([1.0, 0.0], dtype=torch.float64)).points == 1
