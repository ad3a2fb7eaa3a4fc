"""(2) and (3): J_i, V_i, Q_i and the stationary law, on both routes, at every joint state and pair."""

import numpy as np
import pytest

from marl.exact import AverageValues, JointPairs
from tests.paper import oracle
from tests.paper.instances import Case, every_case

CLOSE = {"rtol": 0.0, "atol": 1e-10}
both_routes = pytest.mark.parametrize("method", ["dense", "free"])


@every_case
def test_the_model_is_sound(case: Case) -> None:
    oracle.check(case.model)


@every_case
@both_routes
def test_average_reward_2(case: Case, method: str) -> None:
    values = AverageValues(case.chain(method))
    np.testing.assert_allclose(values.J, oracle.average_reward(case.model), **CLOSE)
    assert (values.solution.iterations > 0) == (method == "free")


@every_case
@both_routes
def test_q_at_all_pairs_3(case: Case, method: str) -> None:
    values = AverageValues(case.chain(method))
    exact = oracle.q(case.model)
    np.testing.assert_allclose(values.q(*case.pairs), exact, **CLOSE)
    relative = values.relative_q(*case.pairs)
    np.testing.assert_allclose(relative - relative[0], exact - exact[0], **CLOSE)


@every_case
@both_routes
def test_values_of_states_3(case: Case, method: str) -> None:
    values = AverageValues(case.chain(method))
    np.testing.assert_allclose(values.V, oracle.value(case.model), **CLOSE)
    np.testing.assert_allclose(values.stationary @ values.V, 0.0, **CLOSE)
    assert (values.solution.residual < 1e-9).all()


@every_case
@both_routes
def test_stationary_law(case: Case, method: str) -> None:
    joint = JointPairs(case.chain(method))
    np.testing.assert_allclose(joint.values.stationary, oracle.stationary(oracle.state_chain(case.model)), **CLOSE)
    np.testing.assert_allclose(joint.stationary, oracle.stationary_pairs(case.model), **CLOSE)
    np.testing.assert_array_equal(joint.stationary == 0, oracle.stationary_pairs(case.model) == 0)


@every_case
def test_joint_pairs_are_in_the_oracles_order(case: Case) -> None:
    for mine, theirs in zip(case.joint.pairs, case.pairs, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_allclose(case.joint.q, oracle.q(case.model), **CLOSE)


@every_case
@both_routes
def test_the_chain_itself(case: Case, method: str) -> None:
    chain, matrix = case.chain(method), oracle.state_chain(case.model)
    np.testing.assert_allclose(chain.matrix, matrix, **CLOSE)
    h = np.random.default_rng(0).normal(size=(chain.num_states, 3))
    np.testing.assert_allclose(chain.expect(h), matrix @ h, **CLOSE)
    np.testing.assert_allclose(chain.push(h), matrix.T @ h, **CLOSE)
    np.testing.assert_array_equal(chain.states(), oracle.all_states(case.model))
    np.testing.assert_array_equal(chain.number(chain.states()), np.arange(chain.num_states))


@every_case
def test_some_agents_of_all(case: Case) -> None:
    """Columns follow the agents asked for, in their order, repeats included."""
    asked = [case.env.n - 1, 0]
    values = AverageValues(case.chain("free"), asked)
    np.testing.assert_allclose(values.J, oracle.average_reward(case.model)[asked], **CLOSE)
    np.testing.assert_allclose(values.V, oracle.value(case.model)[:, asked], **CLOSE)
    np.testing.assert_allclose(values.q(*case.pairs), oracle.q(case.model)[:, asked], **CLOSE)


@every_case
@both_routes
@pytest.mark.parametrize("tolerance", [1e-14, 1e-3])
def test_values_are_as_exact_as_solution_says(case: Case, method: str, tolerance: float) -> None:
    """Even where the iteration is stopped early: span of the error of V <= error."""
    solution = AverageValues(case.chain(method), tolerance=tolerance).solution
    span = np.ptp(solution.V.numpy() - oracle.value(case.model), axis=0)
    assert (span <= solution.error.numpy() + 1e-13).all()


@every_case
@both_routes
@pytest.mark.parametrize("tolerance", [1e-14, 1e-3])
def test_averages_are_as_exact_as_solution_says(case: Case, method: str, tolerance: float) -> None:
    """|error of J| <= residual / 2."""
    solution = AverageValues(case.chain(method), tolerance=tolerance).solution
    error = np.abs(solution.J.numpy() - oracle.average_reward(case.model))
    assert (error <= solution.residual.numpy() / 2 + 1e-13).all()
