"""Rules for conflict graphs: by hand, against plain loops, and their exact averages beside the optimum."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jaxtyping
import networkx as nx
import pytest
import torch

from marl import (
    Coloring,
    LocalLongestQueueFirst,
    LongestQueueFirst,
    MaxWeight,
    Network,
    Policy,
    QueueBasedAccess,
    Scheduling,
    SlottedAloha,
    Uniform,
    evaluate,
)
from marl.core.errors import ConfigError
from marl.testing import random_inputs
from tests.envs import scheduling_oracle as oracle
from tests.envs.joint import average_reward
from tests.envs.test_scheduling import ENVS, links_of

DETERMINISTIC: dict[type[Policy], Callable[..., list[int]]] = {
    LocalLongestQueueFirst: oracle.locally_longest,
    LongestQueueFirst: oracle.longest_first,
    MaxWeight: oracle.heaviest,
}


def chosen(policy: Policy, *queues: int) -> list[int]:
    return policy.probs(torch.tensor([queues]))[0].argmax(dim=-1).tolist()


@pytest.mark.parametrize("rule", DETERMINISTIC)
@pytest.mark.parametrize("name", ENVS)
def test_schedules_equal_the_loops(name: str, rule: type[Policy]) -> None:
    env = ENVS[name]()
    s = random_inputs(env, 60, 1).s
    found = rule(env).probs(s.reshape(5, 4, 3, env.n)).reshape(60, env.n, 2)
    wanted = [DETERMINISTIC[rule](links_of(env), row) for row in s.tolist()]
    assert found[..., 1].tolist() == wanted
    assert found[..., 0].tolist() == [[1 - x for x in row] for row in wanted]


def test_schedules_by_hand() -> None:
    """Local: link 1 is beaten by 2, which is beaten by 3, so 0 and 2 could have sent in vain."""
    env = Scheduling("line:5", 4)
    assert chosen(LocalLongestQueueFirst(env), 1, 2, 3, 4, 4) == [0, 0, 0, 1, 0]
    assert chosen(LongestQueueFirst(env), 1, 2, 3, 4, 4) == [0, 1, 0, 1, 0]
    assert chosen(MaxWeight(env), 1, 2, 3, 4, 4) == [1, 0, 1, 0, 1]
    assert chosen(LongestQueueFirst(env), 0, 0, 1, 1, 0) == [0, 0, 1, 0, 0]
    for rule in DETERMINISTIC:
        assert chosen(rule(env), 0, 0, 0, 0, 0) == [0] * 5
        assert chosen(rule(env), 2, 0, 1, 0, 1) == [1, 0, 1, 0, 1]


def test_max_weight_knows_the_channels_and_breaks_ties_without_rounding() -> None:
    env = Scheduling("line:3", 6, success=[0.1, 0.3, 0.2])
    assert chosen(MaxWeight(env), 2, 2, 2) == [1, 0, 1]  # .2 + .4 = .6: a tie, and {0, 2} is before {1}
    assert chosen(MaxWeight(env), 1, 2, 2) == [0, 1, 0]
    assert chosen(MaxWeight(env), 6, 4, 3) == [1, 0, 1]  # .6 + .6 = 1.2
    assert chosen(MaxWeight(env), 5, 4, 3) == [0, 1, 0]


def test_aloha_scans_a_grid_with_one_replica_each() -> None:
    env = Scheduling("line:3")
    probs = SlottedAloha(env, send_probability=[0.0, 0.25, 1.0], replicas=3).probs(torch.tensor([[0, 1, 3]] * 3))
    assert probs[..., 1].tolist() == [[0.0, 0.0, 0.0], [0.0, 0.25, 0.25], [0.0, 1.0, 1.0]]


def test_queue_based_access_by_hand() -> None:
    env = Scheduling("line:4", 3)
    found = QueueBasedAccess(env, weight=math.log(2), offset=-math.log(4)).probs(torch.tensor([[0, 1, 2, 3]]))
    assert found[0, :, 1].tolist() == pytest.approx([0.0, 1 / 3, 1 / 2, 2 / 3])
    same = QueueBasedAccess(env, weight=0.0, offset=0.0).probs(torch.tensor([[0, 1, 2, 3]]))
    assert same.equal(SlottedAloha(env, send_probability=0.5).probs(torch.tensor([[0, 1, 2, 3]])))


@pytest.mark.parametrize(
    ("rule", "options", "average"),
    [
        (Uniform, {}, -0.7602),
        (SlottedAloha, {"send_probability": 0.4}, -0.7316),
        (QueueBasedAccess, {}, -0.8123),
        (LocalLongestQueueFirst, {}, -0.2777),
        (LongestQueueFirst, {}, -0.2039),
        (MaxWeight, {}, -0.1965),
    ],
)
def test_averages_on_a_ring_of_four(rule: Callable[..., Policy], options: dict[str, Any], average: float) -> None:
    """Those of docs/systems/scheduling.md, which the oracle found by code of its own, from all joint states and actions."""
    env = Scheduling("ring:4", buffer=2)
    assert average_reward(env, rule(env, **options)) == pytest.approx(average, abs=5e-5)


def test_the_optimum_on_a_ring_of_four() -> None:
    assert oracle.Joint(oracle.ring(4, 2, 0.2, 0.8)).optimum() == pytest.approx(-0.1929, abs=5e-5)


def test_aloha_without_conflicts_is_a_queue_of_its_own() -> None:
    """B = 1: busy with probability p = lam / (lam + x q (1 - lam)); r = -p - p lam (1 - x q)."""
    env = Scheduling(Network.from_edges(2, []), 1, 0.3, 0.8)
    goes = 0.5 * 0.8
    busy = 0.3 / (0.3 + goes * 0.7)
    wanted = -busy - busy * 0.3 * (1.0 - goes)
    assert average_reward(env, SlottedAloha(env, send_probability=0.5)) == pytest.approx(wanted, abs=1e-12)


def test_the_best_aloha_of_twenty_takes_one_rollout() -> None:
    """The exact values at .05 to 1 on a ring of six differ by .003 at the top; half widths are below .01. Fixed seed."""
    env = Scheduling()
    found = evaluate(env, SlottedAloha(env, send_probability=[k / 20 for k in range(1, 21)], replicas=20), steps=5_000)
    assert 0.3 <= (int(found.average_reward.argmax()) + 1) / 20 <= 0.45
    assert float(found.average_reward.max()) == pytest.approx(-0.793, abs=0.02)


def test_a_long_ring_of_links() -> None:
    env = Scheduling("ring:10000")
    s = random_inputs(env, 2, 0).s
    for rule in LocalLongestQueueFirst, LongestQueueFirst:
        a = rule(env).sample(s, torch.zeros(2, env.n, dtype=torch.float64))
        assert not (a & a.roll(1, dims=1)).any()


@pytest.mark.parametrize("rule", [SlottedAloha, QueueBasedAccess, *DETERMINISTIC])
def test_rules_refuse_another_environment(rule: Callable[..., Policy]) -> None:
    with pytest.raises(ConfigError, match="is a rule for Scheduling, not for Coloring; use a policy that"):
        rule(Coloring())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: MaxWeight(Scheduling("ring:31")),
            r"independent sets of 31 links are too many to list \(at most 30 links\)",
        ),
        (lambda: SlottedAloha(Scheduling(), send_probability=1.5), r"policy.send_probability\[0\] must be"),
        (lambda: SlottedAloha(Scheduling(), send_probability=[0.1, 0.2]), "policy.send_probability needs 1 values"),
        (lambda: QueueBasedAccess(Scheduling(), weight=math.inf), "policy.weight must be a finite number"),
        (lambda: QueueBasedAccess(Scheduling(), offset="low"), "policy.offset must be a finite number"),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Policy], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        make()


def test_max_weight_on_a_random_graph_of_twenty_links() -> None:
    """Against the cliques of the complement, weighed by networkx; q = 1, so weights are queues."""
    graph = nx.gnp_random_graph(20, 0.3, seed=3)
    env = Scheduling(Network.from_networkx(graph), buffer=5, success=1.0)
    s = random_inputs(env, 10, 2).s
    found = MaxWeight(env).probs(s)[..., 1]
    for row, sends in zip(s.tolist(), found.tolist(), strict=True):
        free = nx.complement(graph)
        nx.set_node_attributes(free, dict(enumerate(row)), "queue")
        assert sum(q for q, x in zip(row, sends, strict=True) if x) == nx.max_weight_clique(free, weight="queue")[1]
        assert not any(sends[i] and sends[j] for i, j in itertools.combinations(range(20), 2) if graph.has_edge(i, j))
