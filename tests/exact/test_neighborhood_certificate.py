"""H bounds the influence of states under policies that see neighbors, and no left side of (4) exceeds what it promises."""

import itertools

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.environment import NetworkedMDP
from marl.core.policy import Policy
from marl.envs import LoadBalancing, Scheduling, WirelessAccess, random_local_mdp
from marl.exact import (
    Chain,
    JointPairs,
    LocalLaws,
    certificate,
    discounted_pairs,
    interaction_matrix,
    neighborhood_certificate,
    survey,
)
from marl.exact.certificate import discounted
from marl.exact.neighborhood_certificate import state_influence
from marl.policies import NeighborhoodNeural, NeighborhoodSoftmax, NeighborhoodTable, RandomTable
from tests.exact.test_bounds import Tightness, check_refusal, instances, left_sides
from tests.exact.test_neighborhood_policies import SeesAll
from tests.paper.instances import drawn, randomized

CLOSE = {"rtol": 0.0, "atol": 1e-12}
COUNTS = pytest.mark.parametrize("count", [30, pytest.param(1_000, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of shapes would take most of the time here (the second line: of functions inside functions)."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.setattr(jaxtyping, "jaxtyped", lambda **_: lambda function: function)


def policy_of(env: NetworkedMDP, draw: np.random.Generator) -> Policy:
    """One that sees 1 or 2 hops, or 0; table, softmax or network; from nearly uniform to nearly deterministic."""
    kind = (NeighborhoodTable, NeighborhoodSoftmax, NeighborhoodNeural)[draw.integers(3)]
    policy = kind(env, kappa=int(draw.choice([0, 1, 1, 1, 2])))
    scale = 3.0 ** draw.uniform(-2, 1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.from_numpy(scale * draw.normal(size=tuple(parameter.shape))))
    return policy


@COUNTS
def test_no_left_side_exceeds_its_bound(count: int) -> None:
    """Certified instances at gamma = 1, the same and refused ones at 0.9 or 0.3 in turn."""
    seen = dict.fromkeys(("certified", "refused", "shared", "discounting alone"), 0)
    tight = {gamma: Tightness(f"H, gamma = {gamma:g}") for gamma in (1.0, 0.9, 0.3)}
    for number, (env, _) in enumerate(instances((0.05, 0.9), most_pairs=64)):
        if seen["certified"] == count:
            break
        policy, laws = policy_of(env, np.random.default_rng([number, 7])), LocalLaws(env)
        chain = Chain(env, policy, laws=laws)
        for gamma in (1.0, (0.9, 0.3)[number % 2]):
            found = neighborhood_certificate(laws, policy, gamma=gamma)
            if found.bounds is None:
                assert gamma == 1.0
                check_refusal(found)
                seen["refused"] += 1
                continue
            joint = JointPairs(chain) if gamma == 1.0 else discounted_pairs(chain, gamma)
            tight[gamma].check(left_sides(env, joint.q), found.bounds.numpy())
            seen["certified"] += gamma == 1.0
            seen["shared"] += gamma == 1.0 and laws.sees_pairs
            seen["discounting alone"] += "discounting alone" in found.reason
    print(f"\n{seen}")
    assert min(seen["refused"], seen["shared"] // 4) >= count // 20
    tight[1.0].report(3, highest_median=1e4)
    tight[0.9].report(2, highest_median=1e4)


SHARED = {
    "load-balancing": (lambda: LoadBalancing("line:3", buffer=1, arrival=0.3, service=0.9), [0, 1]),
    "wireless": (lambda: WirelessAccess(incidence=[[0], [0, 1], [1]], deadline=1, success=0.9), [1, 2]),
    "scheduling": (lambda: Scheduling("line:3", buffer=1, arrival=0.1), []),
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_systems_whose_laws_see_actions(name: str, gamma: float) -> None:
    """At some hops certified, at others refused; illegal actions in Scheduling, where C alone would not do."""
    make, certified = SHARED[name]
    env = make()
    for hops in (0, 1, 2, None):
        policy = randomized(SeesAll(env) if hops is None else NeighborhoodTable(env, kappa=hops), seed=1)
        chain = Chain(env, policy)
        found = neighborhood_certificate(chain.laws, policy, gamma=gamma)
        assert found.certified or gamma == 1.0
        assert found.certified or hops not in certified
        if found.bounds is not None:
            joint = JointPairs(chain) if gamma == 1.0 else discounted_pairs(chain, gamma)
            Tightness(name).check(left_sides(env, joint.q), found.bounds.numpy())


@pytest.mark.parametrize("form", ["pp", "ps", "sp", "ss"])
@pytest.mark.parametrize("hops", [0, 1, 2, None])
def test_h_and_r_by_enumeration(form: str, hops: int | None) -> None:
    """Private actions: the exact TV of the next states. Shared: at least that, and what its formula says, by loops."""
    env = drawn("line:4", [2, 3, 2, 2], [2, 2, 1, 2], form)
    policy = randomized(SeesAll(env) if hops is None else NeighborhoodTable(env, kappa=hops), seed=3)
    chain = Chain(env, policy, method="dense")
    moves, earns = (matrix.dense().numpy() for matrix in state_influence(chain.laws, policy))
    cube = chain.matrix.numpy().reshape(*chain.sizes, *chain.sizes)
    mean = chain.rewards().reshape(*chain.sizes, env.n)
    for i, j in itertools.product(range(env.n), repeat=2):
        own = cube.sum(axis=tuple(4 + k for k in range(4) if k != i))
        rows, means = np.moveaxis(own, j, 0), np.moveaxis(mean[..., i], j, 0)
        law = max(float(np.abs(rows - row).sum(axis=-1).max()) / 2 for row in rows)
        reward = max(float(np.abs(means - row).max()) for row in means)
        if form[0] == "p":
            assert moves[i, j] == pytest.approx(law, abs=1e-12)
        if form[1] == "p":
            assert earns[i, j] == pytest.approx(reward, abs=1e-12)
        assert moves[i, j] >= law - 1e-12
        assert earns[i, j] >= reward - 1e-12
        if form[0] == "s":
            assert moves[i, j] == pytest.approx(formula(chain, i, j), abs=1e-12)


def formula(chain: Chain, i: int, j: int) -> float:
    """(1 - Pi_jj) E^s_ij + Pi_jj C_ij + sum over k != j of E^a_ik Pi_kj, written out over pairs of legal pairs."""
    laws, near, total = chain.laws, chain.laws.neighbors[i], 0.0
    for axis, k in enumerate(near):
        by_state, by_action, by_any = 0.0, 0.0, 0.0
        rows = np.moveaxis(laws.law[i], axis, 0)
        for z, other in itertools.product(range(laws.num_pairs[k]), repeat=2):
            change = float(np.abs(rows[z] - rows[other]).sum(axis=-1).max()) / 2
            by_any = max(by_any, change)
            if laws.pair_action[k][z] == laws.pair_action[k][other]:
                by_state = max(by_state, change)
            if laws.pair_state[k][z] == laws.pair_state[k][other]:
                by_action = max(by_action, change)
        if j not in chain.seen[k]:
            continue
        seen = np.moveaxis(chain.tables[k], chain.seen[k].index(j), 0)
        differ = max(float(np.abs(seen - row).sum(axis=-1).max()) / 2 for row in seen)
        total += (1 - differ) * by_state + differ * by_any if k == j else differ * by_action
    return total


@pytest.mark.parametrize("form", ["pp", "ss"])
def test_of_an_own_state_policy_h_is_at_most_c(form: str) -> None:
    """... in every entry: the law is averaged over the policy's actions. So whatever C certifies, H does."""
    env = drawn("ring:4", [2, 2, 2, 2], [2, 2, 2, 2], form, interaction=0.2)
    laws, policy = LocalLaws(env), RandomTable(env)
    assert (state_influence(laws, policy)[0].dense() <= interaction_matrix(laws).dense() + 1e-12).all()
    assert neighborhood_certificate(laws, policy).radius <= certificate(laws).radius + 1e-9


@pytest.mark.parametrize("form", ["pp", "ps", "sp", "ss"])
@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_the_first_time_that_a_reward_can_tell(form: str, hops: int) -> None:
    """Discounting alone: gamma^t, t the first time that r_i(t) depends on somebody outside N_i^kappa, by following sets."""
    env = drawn("line:9", [1] * 9, [1] * 9, form)
    inside = [set(near[mask].tolist()) for near, mask in zip(*env.network.neighborhood(1)[:2], strict=True)]
    seen = [{j for j in range(9) if abs(i - j) <= hops} for i in range(9)]

    def states(agents: set[int], actions: set[int]) -> set[int]:
        """The states that the pairs or states of these agents depend on, the actions of `actions` among them."""
        return agents.union(*(seen[k] for k in actions))

    for i in range(9):
        rewarded = {i} if form[1] == "p" else inside[i]
        reach = [rewarded]
        now = states(rewarded, rewarded)  # the states at t that r_i(t) depends on
        for _ in range(9):
            reach.append(set().union(*(inside[k] for k in now)))  # the pairs at t - 1, if that is the start
            acting = now if form[0] == "p" else reach[-1]
            now = states(reach[-1], acting)
        found = discounted(env, [1.0] * 9, [i], 9, 0.5, hops)[:, 0]
        for kappa in range(max(i, 8 - i)):
            first = next(t for t, agents in enumerate(reach) if any(abs(j - i) > kappa for j in agents))
            assert float(found[kappa]) == 0.5**first / 0.5, (i, kappa)
        assert not found[max(i, 8 - i) :].any()


def test_a_network_of_many_agents() -> None:
    """No joint state is listed and nothing is n x n: 300 queues."""
    env = LoadBalancing("ring:300", buffer=1, arrival=0.2, service=0.95)
    policy = NeighborhoodSoftmax(env)
    with torch.no_grad():
        policy.theta.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    found = neighborhood_certificate(LocalLaws(env), policy, [0, 7], kappas=5)
    assert found.bounds is not None
    assert found.bounds.shape == (5, 2)
    assert (found.bounds.diff(dim=0) < 0).all()


def test_a_survey_of_a_policy_that_sees_neighbors() -> None:
    env = random_local_mdp("line:4", interaction=0.2)
    policy = randomized(NeighborhoodSoftmax(env))
    found = survey(env, policy)
    assert not isinstance(found.one_step, str)
    exact = neighborhood_certificate(LocalLaws(env), policy)
    assert found.one_step.reason == exact.reason
    np.testing.assert_allclose(found.one_step.bounds, exact.bounds, **CLOSE)
    assert isinstance(found.coupling, str)
    assert "neighborhood_certificate" in found.coupling
    assert not isinstance(found.measured, str)
    assert (found.measured.largest <= exact.bounds).all()
    discounted = survey(env, policy, gamma=0.5).one_step
    assert not isinstance(discounted, str)
    assert discounted.certified
