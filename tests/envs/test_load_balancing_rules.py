"""The rules of load balancing and the pooled queue: hand-made states, exact averages, and what they refuse."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from marl import Network, Policy, Uniform, WirelessAccess, evaluate
from marl.core.errors import ConfigError
from marl.envs import LoadBalancing
from marl.envs.load_balancing import JoinShortestQueue, Keep, OverflowOnly, TwoChoices, pooled_loss
from tests.envs.joint import average_reward, optimal_reward

SETTINGS = {"a": (4, 3, 0.5, 0.6), "b": (4, 3, 0.4, 0.5), "c": (4, 3, 0.6, 0.6), "d": (5, 2, 0.5, 0.6)}
"""n, B, lam, mu of a ring."""
LOSS: dict[str, dict[type[Policy], float]] = {
    "a": {Uniform: 0.0545, Keep: 0.0328, JoinShortestQueue: 0.0063, OverflowOnly: 0.0079},
    "b": {Uniform: 0.0445, Keep: 0.0311, JoinShortestQueue: 0.0048},
    "c": {Uniform: 0.1012, Keep: 0.0706, JoinShortestQueue: 0.0357},
    "d": {Uniform: 0.0892, Keep: 0.0588, JoinShortestQueue: 0.0340, OverflowOnly: 0.0273},
}
OPTIMUM = {"a": 0.0050, "b": 0.0043, "c": 0.0335, "d": 0.0251}


def ring(setting: str) -> LoadBalancing:
    n, buffer, arrival, service = SETTINGS[setting]
    return LoadBalancing(f"ring:{n}", buffer, arrival, service)


@pytest.mark.parametrize(("setting", "kind"), [(setting, kind) for setting in LOSS for kind in LOSS[setting]])
def test_losses_on_a_ring(setting: str, kind: type[Policy]) -> None:
    """Known answers, of loops over all joint states and actions that share no code with these."""
    env = ring(setting)
    assert average_reward(env, kind(env)) == pytest.approx(-LOSS[setting][kind], abs=5.1e-5)


@pytest.mark.parametrize("setting", ["a", "d"])
def test_the_optimum_is_between_the_bound_and_the_rules(setting: str) -> None:
    env = ring(setting)
    optimum = -optimal_reward(env, 1e-7)
    assert optimum == pytest.approx(OPTIMUM[setting], abs=5.1e-5)
    assert pooled_loss(env) < optimum < min(LOSS[setting].values())


def choices(kind: type[Policy], env: LoadBalancing, s: list[int], **options: Any) -> list[int]:
    """The queues that jobs are handed to."""
    action = kind(env, **options).probs(torch.tensor([s]))[0].argmax(dim=-1)
    return env.queues[torch.arange(env.n), action].tolist()


def test_jsq_by_hand() -> None:
    env = LoadBalancing("ring:5", buffer=3)
    assert choices(JoinShortestQueue, env, [3, 1, 2, 0, 1]) == [4, 1, 3, 3, 3]  # 0 sees 1 and 4 alike
    assert choices(JoinShortestQueue, env, [3, 1, 2, 0, 1], ties="index") == [1, 1, 3, 3, 3]
    assert choices(JoinShortestQueue, env, [2] * 5) == [0, 1, 2, 3, 4]
    assert choices(JoinShortestQueue, env, [1, 2, 1, 2, 1]) == [0, 0, 2, 2, 4]
    assert choices(JoinShortestQueue, env, [1, 2, 1, 2, 1], ties="index") == [0, 0, 2, 2, 4]


def test_overflow_only_by_hand() -> None:
    env = LoadBalancing("ring:5", buffer=3)
    assert choices(OverflowOnly, env, [3, 1, 2, 0, 1]) == [4, 1, 2, 3, 4]
    assert choices(OverflowOnly, env, [3, 1, 2, 0, 1], ties="index") == [1, 1, 2, 3, 4]
    assert choices(OverflowOnly, env, [3, 3, 3, 3, 2]) == [4, 1, 2, 4, 4]
    mixed = LoadBalancing(Network.from_edges(4, [(0, 1), (0, 2)]), buffer=[2, 1, 5, 1])
    assert choices(OverflowOnly, mixed, [2, 1, 4, 1]) == [2, 1, 2, 3]  # 1 keeps: 0 is full, too
    assert choices(OverflowOnly, mixed, [1, 1, 5, 0]) == [0, 0, 0, 3]


def test_two_choices_by_hand() -> None:
    """Of m queues, the one that c others come after is the shorter of two with probability 2 c / (m (m - 1))."""
    env = LoadBalancing(Network.from_edges(5, [(0, 1), (0, 2), (0, 3)]), buffer=4)
    probs = TwoChoices(env).probs(torch.tensor([[2, 1, 4, 2, 0]]))[0]
    assert probs[0].tolist() == pytest.approx([2 / 6, 3 / 6, 0, 1 / 6])
    assert probs[1].tolist() == [1, 0, 0, 0]
    assert probs[2].tolist() == [0, 1, 0, 0]
    assert probs[4].tolist() == [1, 0, 0, 0]
    tied = [
        TwoChoices(env, ties=ties).probs(torch.tensor([[3, 1, 1, 1, 0]]))[0, 0].tolist() for ties in ("cyclic", "index")
    ]
    assert tied[0] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])  # going down from 0: 4, 3, 2, 1
    assert tied[1] == pytest.approx([0, 3 / 6, 2 / 6, 1 / 6])


def test_two_choices_draw_pairs_of_different_queues() -> None:
    """All pairs of a neighborhood, each taken evenly, the shorter one joined, in loops."""
    env = LoadBalancing("king:2x3", buffer=3)
    s = torch.tensor([[0, 3, 1, 2, 2, 1]])
    probs = TwoChoices(env, ties="index").probs(s)[0]
    for i in range(env.n):
        reach = env.queues[i, : env.num_actions[i]].tolist()
        pairs = list(itertools.combinations(range(len(reach)), 2))
        expected = [0.0] * env.queues.shape[1]
        for pair in pairs:
            expected[min(pair, key=lambda k: (int(s[0, reach[k]]), k))] += 1 / len(pairs)
        assert probs[i].tolist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("kind", [Keep, JoinShortestQueue, OverflowOnly, TwoChoices])
def test_without_neighbors_jobs_are_kept_and_other_systems_are_refused(kind: type[Policy]) -> None:
    env = LoadBalancing(Network.from_edges(3, []), buffer=2)
    assert kind(env).probs(torch.tensor([[0, 1, 2]])).tolist() == [[[1.0]] * 3]
    with pytest.raises(ConfigError, match=f"{kind.__name__} is a rule for LoadBalancing, not for Wireless"):
        kind(WirelessAccess(rows=2, cols=2))


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"policy.ties must be one of cyclic, index, got 'random'"):
        JoinShortestQueue(LoadBalancing(), ties="random")


def test_rules_take_many_agents_and_steps() -> None:
    env = LoadBalancing("ring:10000", buffer=2)
    s = torch.randint(0, 3, (2, 1, env.n), generator=torch.Generator().manual_seed(0))
    left, right = s.roll(1, dims=-1), s.roll(-1, dims=-1)
    chosen = JoinShortestQueue(env).probs(s).argmax(dim=-1)
    assert torch.equal(chosen == 0, (s <= left) & (s <= right))


def test_the_pooled_queue_by_hand() -> None:
    """One agent is its own pool. Two of B = 1, lam = 1, mu = 1/2 (1, then 2 jobs): from 2, (2 - D + 2 - 2)^+ are lost."""
    alone = LoadBalancing("line:1", buffer=3, arrival=0.5, service=0.6)
    assert pooled_loss(alone) == pytest.approx(-average_reward(alone, Keep(alone)), abs=1e-12)
    pair = LoadBalancing("line:2", buffer=1, arrival=1.0, service=0.5)
    assert pooled_loss(pair) == pytest.approx((2 - 1) / 2)  # full before every slot; of 2 new jobs as many stay as leave
    assert pooled_loss(LoadBalancing("line:2", arrival=0.0)) == 0.0
    assert pooled_loss(LoadBalancing("line:2", buffer=1, arrival=[1.0, 0.5], service=0.0)) == pytest.approx(0.75)
    assert pooled_loss(LoadBalancing("line:2", arrival=1.0, service=1.0)) == pytest.approx(0.0, abs=1e-15)
    assert pooled_loss(LoadBalancing("ring:3", arrival=0.0, service=0.0)) == 0.0


def test_the_pooled_queue_in_a_simulation() -> None:
    """Unequal servers: 200,000 slots of the chain in loops, batch means of 2,000 slots.

    Farther off than 5 standard errors of 100 means with probability below 1e-5; the seed is fixed.
    """
    env = LoadBalancing("ring:3", buffer=[1, 2, 1], arrival=[0.9, 0.2, 0.6], service=[0.3, 0.9, 0.5])
    draw = np.random.default_rng(0)
    x, losses = 0, []
    came = (draw.random((200_000, 3)) < env.arrival.numpy()).sum(axis=1).tolist()
    done = np.cumsum(draw.random((200_000, 3)) < [0.9, 0.5, 0.3], axis=1).tolist()  # of the 1, 2, 3 fastest servers
    for arrivals, finished in zip(came, done, strict=True):
        x += arrivals - (finished[min(x, 3) - 1] if x else 0)
        losses.append(max(0, x - 4))
        x = min(x, 4)
    means = np.array(losses).reshape(100, 2_000).mean(axis=1) / 3
    assert abs(means.mean() - pooled_loss(env)) < 5 * means.std(ddof=1) / np.sqrt(100)
    assert means.std(ddof=1) / np.sqrt(100) < 0.002 * 3


@pytest.mark.parametrize("seed", range(3))
def test_no_rule_loses_less_than_the_pooled_queue(seed: int) -> None:
    """On random networks of unequal agents, exactly."""
    draw = np.random.default_rng(seed)
    env = LoadBalancing("line:3", [1, 2, 2], draw.random(3).tolist(), draw.random(3).tolist())
    for kind in (Uniform, Keep, JoinShortestQueue, OverflowOnly, TwoChoices):
        assert -average_reward(env, kind(env)) >= pooled_loss(env) - 1e-12


def test_a_pool_that_is_too_large_is_refused() -> None:
    with pytest.raises(ConfigError, match="the pooled queue has room for 6000 jobs, at most 4096 can be solved for"):
        pooled_loss(LoadBalancing("ring:2000"))


def test_evaluation_is_compiled_and_agrees() -> None:
    """Within 5 half widths, which is wrong with probability below 1e-8 (t, 19 degrees); the seed is fixed."""
    env = ring("a")
    found = evaluate(env, Keep(env, replicas=4), steps=20_000)
    assert ((found.average_reward + LOSS["a"][Keep]).abs() < 5 * found.half_width).all()
