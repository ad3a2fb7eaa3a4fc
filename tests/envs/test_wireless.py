"""The wireless network against the plain-Python oracle: dynamics and exact laws."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from marl.envs import WirelessAccess
from tests import oracles
from tests.conftest import written_out

THREE = [[0], [0, 1], [1]]
ENVS: dict[str, Callable[[], WirelessAccess]] = {
    "interior": lambda: WirelessAccess(rows=3, cols=2, deadline=[1, 2, 3, 1, 2, 3]),
    "corners": lambda: WirelessAccess(rows=2, cols=2, access_points="corners", deadline=3, instance_seed=1),
    "pairs": lambda: WirelessAccess(
        rows=2, cols=2, users_per_cell=2, deadline=[1, 2] * 4, success=0.9, action_set="any_slot"
    ),
    "crowds": lambda: WirelessAccess(rows=2, cols=3, users_per_cell=3, instance_seed=2),
    "any_slot": lambda: WirelessAccess(rows=1, cols=3, access_points="corners", deadline=[3, 1, 2], action_set="any_slot"),
    "listed": lambda: WirelessAccess(incidence=[[5, 0], [0], [2, 5, 3], [2]], deadline=[2, 3, 1, 2], instance_seed=3),
    "alone": lambda: WirelessAccess(incidence=[[0, 1], [2]], deadline=2, action_set="any_slot"),
}


def random_inputs(env: WirelessAccess, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """States, actions (also those that are not legal at an empty queue; the later the row, the busier) and noise."""
    u = torch.rand(5, count, env.n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    busy = u[0] <= torch.linspace(0.0, 1.0, count, dtype=torch.float64)[:, None]
    return (u[1] * env.num_states).long(), (u[2] * env.num_actions).long() * busy, u[3:].movedim(0, -1).contiguous()


@pytest.mark.parametrize("placement", ["interior", "corners"])
def test_grid_is_numbered_row_major(placement: str) -> None:
    for rows, cols, users in itertools.product((1, 2, 3, 5), (1, 2, 4), (1, 2, 3)):
        if placement == "interior" and 1 in (rows, cols):
            continue
        env = WirelessAccess(rows=rows, cols=cols, access_points=placement, users_per_cell=users, deadline=1)
        assert env.access == oracles.grid_access(rows, cols, placement, users)
        assert len(env.success) == env.num_points == len({y for points in env.access for y in points})
        near = oracles.neighbors(written_out(env))
        assert env.network.edges.tolist() == [[i, j] for i, others in enumerate(near) for j in others if i < j]
        assert len({tuple(place) for place in env.positions.tolist()}) == env.n


@pytest.mark.parametrize("name", ENVS)
def test_equals_the_oracle(name: str) -> None:
    env = ENVS[name]()
    model = written_out(env)
    assert env.num_actions.tolist() == [oracles.num_actions(model, i) for i in range(env.n)]
    for i, state in itertools.product(range(env.n), range(int(env.num_states.max()))):
        legal = oracles.legal(model, i, state) if state < env.num_states[i] else []
        assert env.action_mask[i, state].nonzero().flatten().tolist() == legal
    s, a, u = random_inputs(env, 60, 0)
    s_next, r = env.step(s, a, u)
    law, mean, start = env.transition(s, a), env.reward(s, a), env.reset(u)
    assert r.sum() > 0, "the comparison says little unless packets go through"
    for b in range(60):
        states, actions, noise = s[b].tolist(), a[b].tolist(), u[b].tolist()
        assert (s_next[b].tolist(), r[b].tolist()) == oracles.wireless_step(model, states, actions, noise)
        assert start[b].tolist() == oracles.wireless_reset(model, noise)
        assert mean[b].tolist() == oracles.wireless_reward(model, states, actions)
        for i, row in enumerate(oracles.wireless_transition(model, states, actions)):
            padded = row + [0.0] * (law.shape[-1] - len(row))
            assert law[b, i].tolist() == pytest.approx(padded, rel=0, abs=1e-15)


@pytest.mark.parametrize("action_set", ["earliest", "any_slot"])
@pytest.mark.parametrize("incidence", [[[0]], [[0], [0]], [[0], [0], [0]], THREE], ids=str)
def test_samples_follow_the_joint_law_of_all_next_states_and_rewards(incidence: list[list[int]], action_set: str) -> None:
    """Bernstein's inequality for every joint outcome of 12 (s, a); all bounds hold together but for 1e-7."""
    n, draws, pairs = len(incidence), 200_000, 12
    env = WirelessAccess(incidence=incidence, deadline=[2, 1, 2][:n], action_set=action_set, arrival=0.6, success=0.7)
    model = written_out(env)
    s, a, _ = random_inputs(env, pairs, 4)
    s[0], a[0] = env.num_states - 1, 1  # full queues, all at the first point
    states = int(env.num_states.max())
    bound = math.log(2 * pairs * 64 * 8 / 1e-7)  # at most 64 outcomes are possible, in 8 cases
    for k in range(pairs):
        law = torch.ones(1, dtype=torch.float64)
        for user in oracles.wireless_joint(model, s[k].tolist(), a[k].tolist()):
            outcomes = [user.get((s_next, r), 0.0) for s_next in range(states) for r in (0.0, 1.0)]
            law = torch.outer(law, torch.tensor(outcomes, dtype=torch.float64)).flatten()
        u = torch.rand(draws, n, 2, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        s_next, r = env.step(s[k].expand(draws, n), a[k].expand(draws, n), u)
        code = ((2 * s_next + r.long()) * (2 * states) ** torch.arange(n - 1, -1, -1)).sum(dim=1)
        share = torch.bincount(code, minlength=len(law)) / draws
        slack = (2 * law * (1 - law) * bound / draws).sqrt() + 2 * bound / (3 * draws)
        assert ((share - law).abs() < torch.where(law > 0, slack, 1e-300)).all()


@pytest.mark.parametrize("name", ENVS)
def test_agents_outside_the_neighborhood_have_no_effect(name: str) -> None:
    env = ENVS[name]()
    s, a, u = random_inputs(env, 40, 1)
    far_s, far_a, far_u = random_inputs(env, 40, 2)
    for i, inside in enumerate(oracles.neighbors(written_out(env))):
        far_s[:, inside], far_a[:, inside], far_u[:, inside] = s[:, inside], a[:, inside], u[:, inside]
        for near, far in zip(env.step(s, a, u), env.step(far_s, far_a, far_u), strict=True):
            assert torch.equal(near[:, i], far[:, i])
        assert torch.equal(env.transition(s, a)[:, i], env.transition(far_s, far_a)[:, i])
        assert torch.equal(env.reward(s, a)[:, i], env.reward(far_s, far_a)[:, i])
        far_s, far_a, far_u = random_inputs(env, 40, 3 + i)


def test_two_senders_collide_and_an_empty_slot_occupies_the_point() -> None:
    env = WirelessAccess(incidence=THREE, deadline=2, arrival=0.0, success=1.0)
    s, u = torch.tensor([[3, 3, 3]]), torch.zeros(1, 3, 2, dtype=torch.float64)
    for a, left, r in [
        ([1, 1, 1], [1, 1, 1], [0.0, 0.0, 1.0]),  # 0 and 1 meet at point 0; every packet of user 1 ages
        ([1, 2, 1], [1, 1, 1], [1.0, 0.0, 0.0]),
        ([0, 2, 0], [1, 1, 1], [0.0, 1.0, 0.0]),
    ]:
        s_next, reward = env.step(s, torch.tensor([a]), u)
        assert (s_next[0].tolist(), reward[0].tolist()) == (left, r)
    slots = WirelessAccess(incidence=THREE, deadline=2, arrival=0.0, success=1.0, action_set="any_slot")
    sends = torch.tensor([[2, 1, 2]])  # users 0 and 2 send slot 2; user 1 sends its empty slot 1 to point 0
    s_next, reward = slots.step(torch.tensor([[3, 2, 3]]), sends, u)
    assert (s_next[0].tolist(), reward[0].tolist()) == ([1, 1, 0], [0.0, 0.0, 1.0])


def test_an_empty_queue_means_silence_in_the_earliest_set() -> None:
    env = WirelessAccess(incidence=[[0], [0]], deadline=2, arrival=0.0, success=1.0)
    s_next, r = env.step(torch.tensor([[0, 2]]), torch.tensor([[1, 1]]), torch.zeros(1, 2, 2, dtype=torch.float64))
    assert (s_next[0].tolist(), r[0].tolist()) == ([0, 0], [0.0, 1.0])
    assert env.action_mask[0, 0].tolist() == [True, False]


def test_declared_facts() -> None:
    for name, build in ENVS.items():
        env = build()
        assert env.private_actions == env.private_rewards == (name == "alone")
        assert (env.reward_range, env.num_uniforms) == ((0.0, 1.0), 2)
