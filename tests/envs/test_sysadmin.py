"""SysAdmin with shared crews: its law against plain loops, limiting cases, the compiled step, and what is refused."""

import itertools
import json
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import SysAdmin
from marl.testing import check_environment, check_fused_step, random_inputs
from tests.trainers.test_fused import assert_equal, trainer

HUB = Network.from_edges(6, [(3, j) for j in (0, 1, 2, 4, 5)])
PARTS = Network.from_edges(6, [(0, 2), (2, 5), (3, 4)])  # two components, and machine 1 alone
RATES: dict[str, Any] = {
    "p_fail": [0.4, 0.9, 0.0, 1.0, 0.3, 0.7],
    "p_dead": [0.1, 0.0, 0.8, 0.5, 1.0, 0.2],
    "faulty_neighbor": [0.2, 1.0, 0.0, 0.6, 0.3, 0.1],
    "dead_neighbor": [0.5, 0.3, 1.0, 0.9, 0.0, 0.4],
    "p_load": [0.6, 1.0, 0.0, 0.2, 0.7, 0.5],
    "p_done_good": [0.9, 1.0, 0.4, 0.0, 0.8, 0.3],
    "p_done_faulty": [0.6, 0.2, 1.0, 0.5, 0.1, 0.0],
}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "own": {"graph": "line:4", "crews": "own"},
    "hub": {"graph": HUB, **RATES},
    "parts": {"graph": PARTS, "crews": [[0, 3], [0], [1], [2], [1, 2, 0], [3]], **RATES},
    "two crews": {"graph": PARTS, "crews": 2, **RATES},
    "alone": {"graph": "line:1"},
}


@pytest.fixture(params=CASES, ids=list(CASES))
def env(request: pytest.FixtureRequest) -> SysAdmin:
    return SysAdmin(**CASES[request.param])


def in_plain_loops(given: dict[str, Any], crews: list[list[int]], graph: Network, s: list[int], a: list[int]) -> Any:
    """The law [n][9] and the rewards [n], written down from the text of the model."""

    def rate(name: str, i: int, default: float) -> float:
        return given[name][i] if name in given else default

    calls = [crews[i][a[i] - 1] if a[i] else None for i in range(graph.n)]
    laws, rewards = [], []
    for i in range(graph.n):
        status, load = divmod(s[i], 3)
        rewards.append(1.0 if load == 2 else 0.0)
        law = [0.0] * 9
        laws.append(law)
        if calls[i] is not None and calls.count(calls[i]) == 1:
            law[0] = 1.0
            continue
        beside = [s[x + y - i] // 3 for x, y in graph.edges.tolist() if i in (x, y)]
        added = sum((0.0, rate("faulty_neighbor", i, 0.2), rate("dead_neighbor", i, 0.5))[other] for other in beside)
        added /= max(1, len(beside))
        statuses, loads = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
        if status == 2:
            statuses[2] = 1.0
            loads[0] = 1.0
        else:
            worse = min(1.0, (rate("p_fail", i, 0.4) if status == 0 else rate("p_dead", i, 0.1)) + added)
            statuses[status], statuses[status + 1] = 1.0 - worse, worse
            done = rate("p_done_good", i, 0.9) if status == 0 else rate("p_done_faulty", i, 0.6)
            start = rate("p_load", i, 0.6)
            loads = {0: [1.0 - start, start, 0.0], 1: [0.0, 1.0 - done, done], 2: [1.0, 0.0, 0.0]}[load]
        for x, y in itertools.product(range(3), range(3)):
            law[3 * x + y] = statuses[x] * loads[y]
    return laws, rewards


@pytest.mark.parametrize("name", CASES)
def test_the_law_in_plain_loops(name: str) -> None:
    env = SysAdmin(**CASES[name])
    s, a, _ = random_inputs(env, 60, 0)
    law, reward = env.transition(s, a), env.reward(s, a)
    for b in range(60):
        laws, rewards = in_plain_loops(CASES[name], env.crews, env.graph, s[b].tolist(), a[b].tolist())
        torch.testing.assert_close(law[b], torch.tensor(laws, dtype=torch.float64), rtol=0, atol=1e-14)
        assert reward[b].tolist() == rewards
    assert torch.equal(env.transition(s.reshape(3, 20, -1), a.reshape(3, 20, -1)).flatten(0, 1), law)
    assert torch.equal(env.reward(s.reshape(3, 20, -1), a.reshape(3, 20, -1)).flatten(0, 1), reward)


def test_contract(env: SysAdmin) -> None:
    check_environment(env, samples=16, draws=1_000)
    check_fused_step(env, samples=300)


@pytest.mark.parametrize("name", ["parts", "own"])
def test_compiled_runs_are_those_of_autograd(name: str) -> None:
    env = SysAdmin(**CASES[name])
    runs = [trainer(env, engine, kappa=1, storage="hash") for engine in ("fused", "autograd")]
    for run in runs:
        run.run(200)
    assert_equal(*runs)


def test_who_reaches_which_crew(tmp_path: Path) -> None:
    assert SysAdmin("line:3").crews == [[0], [0, 1], [1]]
    edges = SysAdmin(PARTS)
    assert edges.crews == [[0], [3], [0, 1], [2], [2], [1]]
    assert edges.network.edges.tolist() == PARTS.edges.tolist()
    own = SysAdmin("line:3", "own")
    assert (own.crews, own.private_actions, edges.private_actions) == ([[0], [1], [2]], True, False)
    few = SysAdmin("line:5", 2)
    assert few.crews == [[0], [0], [0], [1], [1]]
    assert few.network.edges.tolist() == [[0, 1], [0, 2], [1, 2], [2, 3], [3, 4]]  # graph, and who shares a crew
    (tmp_path / "crews.json").write_text(json.dumps([[1, 0], [2, 1], [2]]))
    read = SysAdmin("line:3", str(tmp_path / "crews.json"))
    assert read.crews == [[0, 1], [1, 2], [2]]
    assert read.num_actions.tolist() == [3, 3, 2]
    assert read.target.tolist() == [[3, 0, 1], [3, 1, 2], [3, 2, 3]]


def test_two_requests_to_one_crew_cancel_each_other_and_faults_keep_to_the_graph() -> None:
    env = SysAdmin("line:3", [[0, 1], [1], [1]], p_fail=0.25, dead_neighbor=1.0)
    s = torch.tensor([[0, 7, 5]])  # good and idle; dead, with a job; faulty, with a finished job
    alone, both, others = (env.transition(s, torch.tensor([a]))[0] for a in ([0, 1, 0], [2, 1, 0], [1, 1, 0]))
    assert alone[1].tolist() == [1.0] + [0.0] * 8
    assert both[1].tolist() == [0.0] * 6 + [1.0, 0.0, 0.0]  # dead stays dead, and its job is lost
    assert both[0].tolist() == pytest.approx([0.0, 0.0, 0.0, 0.4, 0.6, 0.0, 0.0, 0.0, 0.0])  # .25 + 1 is certain
    assert others[:2, 0].tolist() == [1.0, 1.0]
    assert env.reward(s, torch.tensor([[0, 1, 1]])).tolist() == [[0.0, 0.0, 1.0]]  # paid, rebooted or not
    apart = SysAdmin(Network.from_edges(2, []), 1).transition(torch.tensor([[0, 8]]), torch.tensor([[0, 0]]))
    assert apart[0, 0].tolist() == pytest.approx([0.24, 0.36, 0.0, 0.16, 0.24, 0.0, 0.0, 0.0, 0.0])


def test_all_start_good_and_idle(env: SysAdmin) -> None:
    assert not env.reset(torch.rand(3, env.n, 2, dtype=torch.float64)).any()


def test_many_machines() -> None:
    """A hub is nobody else's burden, and each machine has the law that it has in a small network."""
    star = SysAdmin(Network.from_edges(8_001, [(0, j) for j in range(1, 8_001)]), "own")
    s = torch.zeros(1, star.n, dtype=torch.int64)
    s[0, 1:2001], s[0, 2001:6001] = 3, 6
    _, r = star.step(s, torch.zeros_like(s), torch.full((1, star.n, 2), 0.5, dtype=torch.float64))
    assert r.shape == (1, star.n)
    assert star._chances(s)[0][0, :2].tolist() == pytest.approx([0.4 + 0.25 * 0.2 + 0.5 * 0.5, 0.1])
    with pytest.raises(ConfigError, match=r"env.crews lets a machine call 8000 crews, too many to list for 8001"):
        SysAdmin(star.graph)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"p_fail": 1.5}, r"env.p_fail\[0\] must be a finite number in \[0, 1\], got 1.5"),
        ({"p_dead": -0.1}, r"env.p_dead\[0\] must be a finite number"),
        ({"faulty_neighbor": "often"}, r"env.faulty_neighbor\[0\] must be a finite number"),
        ({"dead_neighbor": [0.5] * 5}, "env.dead_neighbor needs 6 values, one for each machine, got 5"),
        ({"p_load": [0.5] * 5 + [2.0]}, r"env.p_load\[5\]"),
        ({"p_done_good": float("nan")}, r"env.p_done_good\[0\]"),
        ({"p_done_faulty": None}, "env.p_done_faulty must be a number or a list of 6"),
        ({"graph": "torus:3x3"}, "env.graph='torus:3x3'"),
        ({"crews": "edge"}, "env.crews must be edges, own, a number of crews, .*, got 'edge'"),
        ({"crews": None}, "env.crews must be edges, own, a number of crews, .*, got None"),
        ({"crews": 0}, "env.crews must be a whole number of at least 1, got 0"),
        ({"crews": 7}, "env.crews=7 are more crews than the 6 machines"),
        ({"crews": True}, "env.crews must be a whole number"),
        ({"crews": [[0], [1]]}, "env.crews needs 6 lists of crews, one for each machine, got 2"),
        ({"crews": [[0], [0], [], [0], [0], [0]]}, "machine 2 has no crew in reach"),
        ({"crews": [[0], [0, 0], [0], [0], [0], [0]]}, r"env.crews\[1\] names a crew twice: \[0, 0\]"),
        ({"crews": [[0], 1, [0], [0], [0], [0]]}, r"env.crews\[1\] must be a list of crews, got 1"),
        ({"crews": [[-1], [0], [0], [0], [0], [0]]}, r"env.crews\[0\] must be a whole number of at least 0, got -1"),
        ({"crews": {"0": [1]}}, "env.crews must be a list with one list of crews per machine"),
        ({"graph": "line:20000", "crews": 1}, "pairs of machines share a crew, at most"),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        SysAdmin(**arguments)
