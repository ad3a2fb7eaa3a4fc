"""Scheduling on a conflict graph: its law against plain loops, steps by hand, the compiled step, bad arguments."""

import itertools
from typing import Any

import jaxtyping
import pytest
import torch

from marl import Constant, PowerLaw, ScalableActorCritic, Scheduling, TabularCritic, TabularSoftmax
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.testing import check_environment, check_fused_step, random_inputs
from tests.envs.scheduling_oracle import Links, law_and_reward
from tests.trainers.test_fused import assert_equal

ENVS = {
    "isolated": lambda: Scheduling(Network.from_edges(4, [(0, 2), (2, 3)]), [1, 2, 3, 1], [0.3, 1.0, 0.0, 0.6], 0.7),
    "hub": lambda: Scheduling(Network.from_edges(6, [(3, j) for j in (0, 1, 2, 4, 5)]), [2, 1, 1, 4, 1, 2], 0.4, 0.5),
    "two parts": lambda: Scheduling(Network.from_edges(5, [(0, 1), (2, 3), (3, 4)]), 2, 0.5, [1.0, 0.0, 0.2, 0.9, 0.6]),
    "ring": lambda: Scheduling("ring:5", 3, [0.1, 0.2, 0.3, 0.4, 0.5], [0.9, 0.8, 0.7, 0.6, 0.5]),
    "alone": lambda: Scheduling("line:1", 2),
}


@pytest.fixture(params=ENVS, ids=list(ENVS))
def env(request: pytest.FixtureRequest) -> Scheduling:
    return ENVS[request.param]()


def links_of(env: Scheduling) -> Links:
    near: list[list[int]] = [[] for _ in range(env.n)]
    for i, j in env.network.edges.tolist():
        near[i].append(j)
        near[j].append(i)
    return Links(near, env.buffer.tolist(), env.arrival.tolist(), env.success.tolist())


def test_contract(env: Scheduling) -> None:
    assert (env.private_actions, env.private_rewards) == (env.n == 1, env.n == 1)
    assert env.num_states.tolist() == [b + 1 for b in env.buffer.tolist()]
    check_environment(env, draws=2_000)
    check_fused_step(env, samples=300)


def test_the_law_in_plain_loops(env: Scheduling) -> None:
    links, (s, a, u) = links_of(env), random_inputs(env, 40, 0)
    law, reward, (next_s, r) = env.transition(s, a), env.reward(s, a), env.step(s, a, u)
    for b, i in itertools.product(range(40), range(env.n)):
        others = [int(a[b, j]) for j in links.near[i]]
        wanted, paid = law_and_reward(links, i, int(s[b, i]), int(a[b, i]), others)
        assert law[b, i, : len(wanted)].tolist() == pytest.approx(wanted, abs=1e-15)
        assert [float(reward[b, i]), float(r[b, i])] == pytest.approx([paid, paid], abs=1e-15)
        assert wanted[next_s[b, i]] > 0.0


def test_the_reward_range_is_reached() -> None:
    env = Scheduling("line:2", 2, [0.25, 0.5], 0.8)
    s, a = torch.tensor([[0, 2], [2, 2]]), torch.tensor([[0, 0], [1, 1]])
    assert env.reward(s, a).tolist() == [[0.0, -1.5], [-1.25, -1.5]]
    assert env.reward_range == (-1.5, 0.0)


def test_a_slot_by_hand() -> None:
    """Links 0 and 1 collide, 3 sends alone, 2 waits. Sends resolve before arrivals: a full queue has room by then."""
    env = Scheduling("line:4", 2, 0.5, 0.8)
    s, a = torch.tensor([[2, 1, 2, 2]]), torch.tensor([[1, 1, 0, 1]])
    through_and_new = torch.tensor([[[0.1, 0.1]] * 4], dtype=torch.float64)
    next_s, r = env.step(s, a, through_and_new)
    assert next_s.tolist() == [[2, 2, 2, 2]]
    assert r[0].tolist() == pytest.approx([-1.5, -0.5, -1.5, -1.0 - 0.5 * 0.2])
    assert env.step(s, a, torch.tensor([[[0.1, 0.9]] * 4], dtype=torch.float64))[0].tolist() == [[2, 1, 2, 1]]
    assert env.step(s, a, torch.tensor([[[0.9, 0.9]] * 4], dtype=torch.float64))[0].tolist() == [[2, 1, 2, 2]]


def test_an_empty_queue_cannot_send_and_a_run_starts_empty() -> None:
    env = Scheduling("line:2", [1, 2])
    assert env.action_mask.tolist() == [
        [[True, False], [True, True], [False, False]],
        [[True, False], [True, True], [True, True]],
    ]
    assert not env.reset(torch.rand(3, 2, 2, dtype=torch.float64)).any()


def test_a_link_alone_is_a_queue_with_a_known_law() -> None:
    """Without conflicts and with q = 1, a packet leaves a slot after it came: s' = e, whatever else."""
    env = Scheduling(Network.from_edges(3, []), 3, [0.0, 0.3, 1.0], 1.0)
    law = env.transition(torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64))
    assert law.tolist() == [[1.0, 0.0, 0.0, 0.0], [0.7, 0.3, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]


def test_a_hundred_thousand_links_in_conflict_with_one() -> None:
    """Two that are free of the hub conflict as well; nothing is padded to the width of the hub."""
    env = Scheduling(Network.from_edges(10**5, [(7, j) for j in range(10**5 - 2) if j != 7] + [(10**5 - 2, 10**5 - 1)]))
    s, a, u = random_inputs(env, 2, 0)
    next_s, r = env.step(s, a, u)
    assert env.contains(next_s, torch.zeros_like(a))
    assert env.reward(s, a).equal(r)


@pytest.mark.parametrize("kappa", [0, 1])
def test_both_engines_give_the_same_run(kappa: int) -> None:
    """With small steps of the actor: with large ones a difference of rounding doubles every few steps."""
    for name in "hub", "ring":
        env = ENVS[name]()
        runs = [
            ScalableActorCritic(
                env,
                TabularSoftmax(env, replicas=2),
                TabularCritic(env, kappa=kappa, replicas=2),
                critic_scheduler=PowerLaw(0.5, 0.55),
                actor_scheduler=Constant(0.2),
                engine=engine,
            )
            for engine in ("fused", "autograd")
        ]
        for run in runs:
            run.run(200)
        assert_equal(*runs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"graph": "torus:3x3"}, "env.graph='torus:3x3' is no file"),
        ({"graph": 6}, "env.graph must be one of .*, got 6"),
        ({"graph": "ring:2"}, "env.graph='ring:2'"),
        ({"buffer": 0}, r"env.buffer\[0\] must be a whole number of at least 1, got 0"),
        ({"buffer": 1.5}, r"env.buffer\[0\] must be a whole number of at least 1, got 1.5"),
        ({"buffer": [1, 2]}, "env.buffer needs 6 values, one for each link, got 2"),
        ({"buffer": None}, "env.buffer must be a number or a list of 6, got None"),
        ({"buffer": 10**8}, "env.buffer=100000000 gives 6 links too many states to list"),
        ({"arrival": 1.2}, r"env.arrival\[0\] must be a finite number in \[0, 1\], got 1.2"),
        ({"arrival": [0.1] * 7}, "env.arrival needs 6 values, one for each link, got 7"),
        ({"arrival": "often"}, r"env.arrival\[0\] must be a finite number in \[0, 1\], got 'often'"),
        ({"success": -0.1}, r"env.success\[0\] must be a finite number in \[0, 1\], got -0.1"),
        ({"success": [0.5] * 5 + [float("nan")]}, r"env.success\[5\] must be a finite number in \[0, 1\], got nan"),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        Scheduling(**arguments)
