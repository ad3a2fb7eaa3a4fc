"""Load balancing on a graph: its law against plain loops, limiting cases, the compiled step, and a refusal by name."""

import itertools
import math
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from marl import Constant, Network, PowerLaw, ScalableActorCritic, TabularCritic, TabularSoftmax
from marl.core.errors import ConfigError
from marl.envs import LoadBalancing
from marl.testing import check_environment, check_fused_step, random_inputs
from tests.trainers.test_fused import assert_equal

SYSTEMS: dict[str, dict[str, Any]] = {
    "ring": {"holding": 0.25},
    "unequal": {"buffer": [1, 2, 3, 1], "arrival": [0.3, 0.9, 0.0, 1.0], "service": [0.5, 1.0, 0.2, 0.0]},
    "isolated": {"graph": Network.from_edges(4, [(0, 2), (2, 3)]), "arrival": 0.9, "buffer": [2, 3, 1, 4]},
    "hub": {"graph": Network.from_edges(6, [(3, j) for j in (0, 1, 2, 4, 5)]), "buffer": [2, 2, 1, 4, 1, 2]},
    "two parts": {"graph": Network.from_edges(5, [(0, 1), (2, 3), (3, 4), (2, 4)]), "service": [0.1, 0.4, 0.6, 0.9, 1.0]},
    "alone": {"graph": "line:1", "buffer": 5},
}


@pytest.fixture(params=SYSTEMS, ids=list(SYSTEMS))
def env(request: pytest.FixtureRequest) -> LoadBalancing:
    return LoadBalancing(**SYSTEMS[request.param])


def written_out(env: LoadBalancing, s: list[int], a: list[int], i: int) -> tuple[list[float], float]:
    """P_i(. | s, a) and E[r_i | s, a]: all ways in which server i finishes and dispatchers of N_i receive jobs."""
    near = sorted({i} | {j for edge in env.network.edges.tolist() if i in edge for j in edge})
    full, law, reward = int(env.buffer[i]), [0.0] * (1 + int(env.buffer.max())), -env.holding * s[i]
    for finished, *received in itertools.product((0, 1), repeat=1 + len(near)):
        if finished and s[i] == 0:
            continue
        mu = float(env.service[i]) if s[i] else 0.0
        chance, jobs = (mu if finished else 1.0 - mu), s[i] - finished
        for j, came in zip(near, received, strict=True):
            lam = float(env.arrival[j])
            chance *= lam if came else 1.0 - lam
            neighbors = sorted(k for edge in env.network.edges.tolist() if j in edge for k in edge if k != j)
            if came and [j, *neighbors][a[j]] == i:
                jobs += 1
        law[min(jobs, full)] += chance
        reward -= chance * max(0, jobs - full)
    return law, reward


def test_the_law_in_plain_loops(env: LoadBalancing) -> None:
    s, a, _ = random_inputs(env, 30, 0)
    s[0] = env.buffer
    law, reward = env.transition(s, a), env.reward(s, a)
    losses = 0
    for b, i in itertools.product(range(30), range(env.n)):
        wanted, expected = written_out(env, s[b].tolist(), a[b].tolist(), i)
        assert law[b, i].tolist() == pytest.approx(wanted, abs=1e-14)
        assert float(reward[b, i]) == pytest.approx(expected, abs=1e-14)
        losses += expected < -env.holding * int(s[b, i])
    assert losses


def test_contract(env: LoadBalancing) -> None:
    alone = len(env.network.edges) == 0
    assert (env.private_actions, env.private_rewards) == (alone, alone)
    assert env.num_actions.tolist() == [1 + len(x) for x in neighbors(env.network)]
    check_environment(env, samples=32, draws=1_000)
    check_fused_step(env, samples=300)


def neighbors(network: Network) -> list[list[int]]:
    return [sorted(j for e in network.edges.tolist() if i in e for j in e if j != i) for i in range(network.n)]


def test_actions_are_oneself_and_neighbors_in_order(env: LoadBalancing) -> None:
    for i, near in enumerate(neighbors(env.network)):
        width = env.queues.shape[1]
        assert env.queues[i].tolist() == ([i, *near] + [i] * width)[:width]
    assert env.num_states.tolist() == (env.buffer + 1).tolist()


def test_samples_use_the_uniforms_of_the_server_and_of_the_dispatchers() -> None:
    """Of three in a line, 0 and 2 hand to 1; the server of 1 finishes iff u < 0.6, dispatcher 0 receives iff u < 0.5."""
    env = LoadBalancing("line:3", buffer=2)
    s, a = torch.tensor([[1, 2, 0]]), torch.tensor([[1, 0, 1]])
    u = torch.tensor([[[0.7, 0.49], [0.59, 0.5], [0.0, 0.1]]], dtype=torch.float64)
    assert env.step(s, a, u)[0].tolist() == [[1, 2, 0]]  # 1 - 0, 2 - 1 + 2 of which one is lost, 0
    u[0, 0, 1], u[0, 2, 1] = 0.5, 0.5
    assert env.step(s, a, u)[0].tolist() == [[1, 1, 0]]
    u[0, 1, 0] = 0.6
    assert env.step(s, a, u)[0].tolist() == [[1, 2, 0]]


def test_limiting_cases_of_the_law() -> None:
    full = LoadBalancing("ring:3", buffer=1, arrival=1.0, service=0.0)  # nothing is finished: every job of a slot is lost
    s, a = torch.tensor([1, 1, 1]), torch.tensor([0, 1, 1])
    assert full.reward(s, a).tolist() == [-3.0, 0.0, 0.0]
    assert full.transition(s, a)[:, 1].tolist() == [1.0, 1.0, 1.0]
    assert full.reward_range == (-3.0, 0.0)
    quick = LoadBalancing("ring:3", buffer=1, arrival=1.0, service=1.0)  # keeping loses nothing
    assert quick.reward(s, 0 * a).tolist() == [0.0, 0.0, 0.0]
    idle = LoadBalancing("ring:3", buffer=2, arrival=0.0, service=0.5, holding=2.0)
    assert idle.reward(torch.tensor([2, 1, 0]), a).tolist() == [-4.0, -2.0, 0.0]
    assert idle.transition(torch.tensor([2, 1, 0]), a).tolist() == [[0.0, 0.5, 0.5], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]


def test_reward_range_is_reached(env: LoadBalancing) -> None:
    """By the agent of the lowest reward, full, with all its neighborhood handing their jobs to it; 0 by empty queues."""
    lowest = math.inf
    for i, near in enumerate(neighbors(env.network)):
        a = torch.zeros(env.n, dtype=torch.int64)
        for j in near:
            a[j] = 1 + neighbors(env.network)[j].index(i)
        lowest = min(lowest, float(env.reward(env.buffer, a)[i]))
    assert env.reward_range == (lowest, 0.0)
    assert (env.reward(torch.zeros(env.n, dtype=torch.int64), torch.zeros(env.n, dtype=torch.int64)) == 0.0).all()


def test_a_run_starts_empty() -> None:
    assert LoadBalancing().reset(torch.rand(3, 4, 2, dtype=torch.float64)).tolist() == [[0] * 4] * 3


@pytest.mark.parametrize("name", ["unequal", "hub", "two parts"])
def test_algorithm_1_is_the_same_compiled(name: str) -> None:
    env, runs = LoadBalancing(**SYSTEMS[name]), []
    for engine in ("fused", "autograd"):
        parts = env, TabularSoftmax(env, replicas=2), TabularCritic(env, kappa=1, replicas=2, storage="hash")
        run = ScalableActorCritic(
            *parts, critic_scheduler=PowerLaw(0.5, 0.55), actor_scheduler=Constant(2.0), engine=engine
        )
        run.run(200)
        runs.append(run)
    assert_equal(*runs)
    assert runs[0].policy.theta.abs().max() > 0.1


def test_a_hundred_thousand_agents() -> None:
    draw = np.random.default_rng(0)
    edges = np.concatenate([draw.integers(0, 99_990, (50_000, 2)), [[99_999, j] for j in range(10)]])  # many isolated
    env = LoadBalancing(Network.from_edges(100_000, edges[edges[:, 0] != edges[:, 1]]))
    s, a, u = random_inputs(env, 1, 0)
    next_s, r = env.step(s, a, u)
    form = env.fused()
    found_s, found_r = np.empty(env.n, dtype=np.int64), np.empty(env.n)
    form.step(
        form.ints, form.floats, np.empty(form.work, dtype=np.int64), *(x[0].numpy() for x in (s, a, u)), found_s, found_r
    )
    assert np.array_equal(found_s, next_s[0].numpy())
    assert np.allclose(found_r, r[0].numpy(), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"buffer": 0}, r"env.buffer\[0\] must be a whole number of at least 1, got 0"),
        ({"buffer": 2.5}, r"env.buffer\[0\] must be a whole number"),
        ({"buffer": [1, 2, 3]}, "env.buffer needs 4 values, one for each agent, got 3"),
        ({"buffer": [1, 2, 3, "many"]}, r"env.buffer\[3\] must be a whole number of at least 1, got 'many'"),
        ({"buffer": 10**15}, "env.buffer=1000000000000000 gives 4 agents up to 1000000000000001 states and 3 actions each"),
        ({"graph": Network.from_edges(9000, [(0, j) for j in range(1, 9000)])}, "9000 actions each: too many to list"),
        ({"arrival": 1.1}, r"env.arrival\[0\] must be a finite number in \[0, 1\], got 1.1"),
        ({"arrival": [0.1, 0.2, -0.3, 0.4]}, r"env.arrival\[2\] must be a finite number in \[0, 1\], got -0.3"),
        ({"arrival": None}, "env.arrival must be a number or a list of 4, got None"),
        ({"service": math.nan}, r"env.service\[0\] must be a finite number in \[0, 1\], got nan"),
        ({"service": [0.5] * 5}, "env.service needs 4 values, one for each agent, got 5"),
        ({"service": True}, r"env.service\[0\] must be a finite number"),
        ({"holding": -1.0}, r"env.holding must be a finite number in \[0, 1e\+06\], got -1.0"),
        ({"holding": math.inf}, r"env.holding must be a finite number in \[0, 1e\+06\], got inf"),
        ({"holding": [0.1] * 4}, r"env.holding must be a finite number"),
        ({"graph": "torus:3x3"}, "env.graph='torus:3x3' is no file"),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        LoadBalancing(**arguments)
