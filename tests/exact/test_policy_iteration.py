"""Localized policy iteration: known answers, one iteration written out over lists, and what a step is."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.mirror import mirror_step
from marl.core.network import Network
from marl.envs import LoadBalancing, Scheduling, random_local_mdp
from marl.exact import LocalTables, localized_policy_iteration
from marl.exact.policy_iteration import LocalIteration
from tests.envs.joint import average_reward, following, joint_actions, joint_states
from tests.exact.test_optimum import epidemic
from tests.programs import program

study = program("local_policies")


@pytest.mark.parametrize("name", study.SOFT)
def test_known_gaps_to_the_joint_soft_optimum(name: str) -> None:
    """Each to 5 %, or half a unit of the last digit that is known where that is more."""
    rows = study.soft(name)
    assert len(rows) == 6
    assert [row.fault for row in rows if row.fault] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", study.KL)
def test_kl_steps_in_turn_never_fall(name: str) -> None:
    """60 sweeps of step size .5 over six agents: 360 block steps, and J before the last of them."""
    rows = study.kl(name)
    assert [row.iterations for row in rows[1:]] == [360] * (len(rows) - 1)
    assert [row.fault for row in rows if row.fault] == []


def test_kl_steps_in_turn_change_one_agent_at_a_time() -> None:
    env = random_local_mdp("ring:3", num_actions=2, private_rewards=False, instance_seed=2)
    found = localized_policy_iteration(env, 1, schedule="in_turn", eta=2.0, improvements=12, tolerance=0.0)
    assert (np.diff(found.values) > 0.0).all()
    assert average_reward(env, found.policy) == pytest.approx(found.values[-1], abs=1e-9)
    states = joint_states(env)[:, None]
    first, second = (
        localized_policy_iteration(env, 1, schedule="in_turn", improvements=k, tolerance=0.0).policy.probs(states)
        for k in (1, 2)
    )
    changed = (first != second).any(dim=3).any(dim=0)[0]
    assert changed.tolist() == [False, True, False]


def by_lists(env: NetworkedMDP, policy: LocalTables, gamma: float, temperature: float) -> tuple[float, list[np.ndarray]]:
    """The mean over joint states of the soft value, and n Q_i(s, a_i) [X, A], by sums over all joint states and actions."""
    states, actions, n = joint_states(env), joint_actions(env), env.n
    probs = policy.probs(states[:, None])[:, 0]
    chance = torch.stack([probs[:, i, actions[:, i]] for i in range(n)]).prod(dim=0)
    legal = torch.stack([env.action_mask[torch.arange(n), s, actions].all(dim=1) for s in states])
    law = torch.zeros(len(states), len(actions), len(states), dtype=torch.float64)
    reward = torch.zeros(legal.shape, dtype=torch.float64)
    for x, s in enumerate(states):
        taken = actions[legal[x]]
        here = s.expand(len(taken), -1)
        law[x, legal[x]] = following(env, here, taken, states)
        reward[x, legal[x]] = env.reward(here, taken).mean(dim=1)
    entropy = -(probs * probs.clamp(min=1e-300).log()).sum(dim=(1, 2)) * temperature / n
    mean, matrix = (chance * reward).sum(dim=1) + entropy, (chance[:, :, None] * law).sum(dim=1)
    value = torch.linalg.solve(torch.eye(len(states)).double() - gamma * matrix, mean)
    q = reward + gamma * law @ value
    found = []
    for i in range(n):
        others = chance / probs[:, i, actions[:, i]].clamp(min=1e-300)
        columns = [((actions[:, i] == a) * others * q).sum(dim=1) for a in range(env.action_mask.shape[2])]
        found.append(n * torch.stack(columns, dim=1).numpy())
    return float(value.mean()), found


@pytest.mark.parametrize(
    "make",
    [
        lambda: random_local_mdp("line:3", num_states=[2, 3, 2], num_actions=[2, 1, 3], private_actions=False),
        lambda: LoadBalancing(Network.line(3), buffer=1, arrival=0.5, service=[0.4, 0.5, 0.6]),
        lambda: Scheduling(Network.line(3), buffer=1, arrival=0.3, success=0.8),
    ],
    ids=["tables", "load balancing", "scheduling"],
)
def test_one_damped_soft_iteration_is_the_one_written_out(make: Callable[[], NetworkedMDP]) -> None:
    env, gamma, temperature, damping = make(), 0.8, 0.2, 0.3
    given = {"improvement": "soft", "gamma": gamma, "temperature": temperature, "damping": damping, "weights": "uniform"}
    two: LocalIteration = localized_policy_iteration(env, 1, **given, improvements=2, tolerance=0.0)
    one: LocalIteration = localized_policy_iteration(env, 1, **given, improvements=1, tolerance=0.0)
    value, q = by_lists(env, one.policy, gamma, temperature)
    assert two.values[1] == one.values[1] == pytest.approx(value, abs=1e-9)
    states = joint_states(env)
    index, mask, _ = env.network.neighborhood(1)
    for i in range(env.n):
        near = index[i, mask[i]].tolist()
        before, after = (found.policy.probs(states[:, None])[:, 0, i].numpy() for found in (one, two))
        for seen in np.unique(states[:, near].numpy(), axis=0):
            alike = (states[:, near].numpy() == seen).all(axis=1)
            legal = env.action_mask[i, states[alike][0, i]].numpy()
            mean = q[i][alike][:, legal].mean(axis=0)
            weight = before[alike][0, legal] ** (1.0 - damping) * np.exp(damping * (mean - mean.max()) / temperature)
            np.testing.assert_allclose(after[alike][0, legal], weight / weight.sum(), rtol=0.0, atol=1e-9)


def test_a_mirror_step() -> None:
    log_probs = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], dtype=torch.float64).log()
    q = torch.tensor([[1.0, 2.0, 9.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    moved = mirror_step(log_probs, q, keep=0.5, gain=2.0).exp()
    e = np.exp(-2.0)
    np.testing.assert_allclose(moved[0], [e / (1 + e), 1 / (1 + e), 0.0], rtol=1e-12)
    root = np.sqrt([0.2, 0.3, 0.5])
    np.testing.assert_allclose(moved[1], root / root.sum(), rtol=1e-12)
    torch.testing.assert_close(mirror_step(log_probs, q + 5.0, 0.5, 2.0).exp(), moved)


def test_refusals_are_sentences() -> None:
    env = epidemic(3)
    for given, sentence in (
        ({"improvement": "hard"}, "improvement must be"),
        ({"schedule": "random"}, "schedule must be"),
        ({"weights": "some"}, "weights must be"),
        ({"improvement": "soft", "temperature": 0.0}, "soft improvements need a temperature and a damping above 0"),
        ({"damping": 1.5}, "damping"),
        ({"improvements": 0}, "improvements"),
        ({"gamma": -0.1}, "gamma"),
        ({"eta": float("inf")}, "eta"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            localized_policy_iteration(env, 1, **given)
