"""The wireless network against the plain-Python oracle: dynamics, exact laws, ALOHA's weights, and every refusal."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from marl.core.errors import ConfigError
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


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No type checks of the test session: what a user sees who gives a wrong type."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


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
    n, draws, pairs = len(incidence), 40_000, 12
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


def test_probabilities_are_drawn_p_first_then_q() -> None:
    draw = np.random.default_rng(17)
    p, q = draw.random(12), draw.random(2)
    env = WirelessAccess(rows=2, cols=3, users_per_cell=2, instance_seed=17)
    assert (env.arrival.tolist(), env.success.tolist()) == (p.tolist(), q.tolist())
    given = WirelessAccess(rows=2, cols=3, users_per_cell=2, instance_seed=17, arrival=0.25)
    assert (given.arrival.tolist(), given.success.tolist()) == ([0.25] * 12, q.tolist())


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


def test_incidence_is_read_from_json_and_sorted(tmp_path: Path) -> None:
    (tmp_path / "reach.json").write_text(json.dumps([[1, 0], [2, 1]]))
    for source in (tmp_path / "reach.json", str(tmp_path / "reach.json"), [[1, 0], [2, 1]], ((1, 0), (2, 1))):
        env = WirelessAccess(incidence=source)
        assert (env.access, env.network.edges.tolist(), env.num_points) == ([[0, 1], [1, 2]], [[0, 1]], 3)


def test_declared_facts() -> None:
    for name, build in ENVS.items():
        env = build()
        assert env.private_actions == env.private_rewards == (name == "alone")
        assert (env.reward_range, env.num_uniforms) == ((0.0, 1.0), 2)


@pytest.mark.parametrize("name", ENVS)
def test_sending_weights_equal_the_loop(name: str) -> None:
    env = ENVS[name]()
    model, weights = written_out(env), env.sending_weights()
    reach = Counter(y for points in model.access for y in points)
    expected = torch.zeros_like(env.action_mask, dtype=torch.float64)
    for i in range(env.n):
        total = sum(model.success[y] / reach[y] for y in model.access[i])
        for s, a in itertools.product(range(1, 2 ** model.deadline[i]), range(1, oracles.num_actions(model, i))):
            point, packet = oracles.attempt(model, i, s, a)
            earliest = s & -s
            if packet == earliest and point is not None:
                expected[i, s, a] = model.success[point] / reach[point] / total
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-15)


def test_sending_weights_skip_dead_points() -> None:
    weights = WirelessAccess(incidence=[[0, 1], [0], [1]], deadline=1, success=[0.0, 0.5]).sending_weights()
    assert weights[:, 1].tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert weights[:, 0].abs().sum() == 0.0


REFUSALS: list[tuple[dict[str, object], str]] = [
    ({"rows": 0}, "env.rows"),
    ({"cols": -1}, "env.cols"),
    ({"cols": 1.5}, "env.cols"),
    ({"rows": True}, "env.rows"),
    ({"rows": 1, "cols": 4}, "user 0 has no access point"),
    ({"users_per_cell": 0}, "env.users_per_cell"),
    ({"access_points": "edges"}, "env.access_points must be one of interior, corners"),
    ({"action_set": "latest"}, "env.action_set must be one of earliest, any_slot"),
    ({"instance_seed": -1}, "env.instance_seed"),
    ({"arrival": 1.1}, r"env.arrival\[0\]"),
    ({"arrival": -0.1}, r"env.arrival\[0\]"),
    ({"arrival": math.nan}, r"env.arrival\[0\]"),
    ({"arrival": True}, r"env.arrival\[0\]"),
    ({"arrival": "often"}, r"env.arrival\[0\]"),
    ({"arrival": [0.5] * 24}, "env.arrival needs 25 values, one for each user, got 24"),
    ({"arrival": [0.5] * 24 + [2.0]}, r"env.arrival\[24\]"),
    ({"success": [0.5] * 25}, "env.success needs 16 values, one for each access point, got 25"),
    ({"success": math.inf}, r"env.success\[0\]"),
    ({"success": [0.5] * 15 + [None]}, r"env.success\[15\]"),
    ({"deadline": 0}, r"env.deadline\[0\]"),
    ({"deadline": 1.5}, r"env.deadline\[0\]"),
    ({"deadline": [2] * 24}, "env.deadline needs 25 values"),
    ({"deadline": 29}, "env.deadline=29"),
    ({"deadline": 1000}, "env.deadline=1000"),
    ({"deadline": 10**20}, "env.deadline"),
    ({"deadline": 10**400}, "env.deadline"),
    ({"incidence": []}, "env.incidence must list at least one user"),
    ({"incidence": 5}, "env.incidence must be a list"),
    ({"incidence": {"0": [1]}}, "env.incidence must be a list"),
    ({"incidence": [[0], []]}, "user 1 has no access point"),
    ({"incidence": [[0], [1, 1]]}, r"env.incidence\[1\] names an access point twice"),
    ({"incidence": [[0], 1]}, r"env.incidence\[1\] must be a list of access points"),
    ({"incidence": [[0], [-1]]}, r"env.incidence\[1\]"),
    ({"incidence": [[0], ["a"]]}, r"env.incidence\[1\]"),
    ({"incidence": [[10**15]]}, "env.incidence"),
    ({"incidence": "/no/such/reach.json"}, "env.incidence file '/no/such/reach.json' cannot be read as JSON"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSALS, ids=["-".join(arguments) for arguments, _ in REFUSALS])
def test_refusals_name_the_argument(unchecked: None, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        WirelessAccess(**arguments)  # type: ignore[arg-type]


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reach.json").write_text("[[0], [1]")
    with pytest.raises(ConfigError, match=r"env.incidence file .*reach.json' cannot be read as JSON"):
        WirelessAccess(incidence=str(tmp_path / "reach.json"))


def test_whole_numbers_may_be_written_as_floats(unchecked: None) -> None:
    env = WirelessAccess(rows=3.0, cols=2.0, users_per_cell=2.0, deadline=2.0, instance_seed=0.0)  # type: ignore[arg-type]
    plain = WirelessAccess(rows=3, cols=2, users_per_cell=2)
    assert env.access == plain.access
    assert torch.equal(env.success, plain.success)
