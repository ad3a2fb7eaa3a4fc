"""`marl decay`: the left side of (4), as printed, as written, and as it is. What it refuses: see also test_certify."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marl import Network
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import AverageValues, Chain, JointPairs, sampled_decay, worst_decay
from marl.policies import RandomTable, TabularSoftmax, Uniform
from tests.cli.command import Marl, assert_refused, contents
from tests.cli.test_certify import assert_picture, enough, printed, shown, written

SMALL = ("env=random_local_mdp", "env.graph=line:4")
LARGE = ("env=random_local_mdp", "env.graph=line:7", "samples=12")


def fitted(lines: list[str]) -> dict[int, tuple[float, float, int]]:
    """Agent -> (rate, scale, points) as printed."""
    law = re.compile(r"agent (\d+): largest left side about (\S+) x (\S+)\^\(kappa \+ 1\), (\d+) points")
    return {int(m[1]): (float(m[3]), float(m[2]), int(m[4])) for m in map(law.fullmatch, lines) if m}


def law_of(column: list[float]) -> tuple[float, float, int]:
    """The exponential through the positive entries, by the normal equations of least squares."""
    x = np.array([kappa + 1.0 for kappa, value in enumerate(column) if value > 0])
    y = np.log([value for value in column if value > 0])
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return float(np.exp(slope)), float(np.exp(y.mean() - slope * x.mean())), len(x)


def result(directory: Path) -> dict[str, Any]:
    return written(directory, "decay.json")


def test_a_small_network_at_all_joint_pairs(marl: Marl, tmp_path: Path) -> None:
    table = printed(marl("decay", *SMALL, "policy=random_table", "out=here"))
    env = random_local_mdp("line:4")
    expected = worst_decay(JointPairs(Chain(env, RandomTable(env))), 0).tolist()
    found = result(tmp_path / "here")
    assert found["agents"] == [0]
    assert found["columns"] == {"agent 0": pytest.approx(expected, rel=1e-9, abs=1e-15)}
    assert [row for (row,) in found["largest"]] == found["columns"]["agent 0"]
    assert table.cells == {"agent 0": shown(expected, 4)}
    assert table.lines[2] == "left side of (4) at all joint pairs, agents [0], 16 joint states, dense solver"
    assert table.kappas() == {"where it was measured": enough(expected, 0.01)}
    rate, scale, points = law_of(expected)
    assert (points, 0.0 < rate < 1.0) == (3, True)
    assert found["fits"] == {"0": {"rate": pytest.approx(rate), "scale": pytest.approx(scale), "points": 3}}
    assert fitted(table.lines) == {0: (pytest.approx(rate, rel=1e-3), pytest.approx(scale, rel=5e-3), 3)}
    assert sorted(contents(tmp_path / "here")) == ["decay.json", "decay.png"]
    assert_picture(tmp_path / "here" / "decay.png")
    assert table.lines[-1] == "written: here/decay.json   here/decay.png"


def test_a_larger_network_at_random_pairs(marl: Marl, tmp_path: Path) -> None:
    table = printed(marl("decay", *LARGE, "seed=3", "out=here"))
    env = random_local_mdp("line:7")
    curves = sampled_decay(AverageValues(Chain(env, Uniform(env)), [0]), 0, 12, seed=3).numpy()
    found = result(tmp_path / "here")
    low, median, high = np.percentile(curves, [10, 50, 90], axis=0)
    expected = {"median": median, "largest": curves.max(axis=0), "10 %": low, "90 %": high}
    assert set(found["columns"]) == set(expected)
    for name, column in expected.items():
        assert found["columns"][name] == pytest.approx(column, rel=1e-6, abs=1e-14)
    assert table.cells == {name: shown(found["columns"][name], 7) for name in ("median", "largest")}
    assert "at 12 random (z, z') per agent, agents [0], 128 joint states" in table.lines[2]
    assert found["fits"]["0"]["rate"] == pytest.approx(law_of(found["columns"]["largest"])[0])
    assert found["columns"]["largest"][-1] == 0.0  # all are inside
    assert_picture(tmp_path / "here" / "decay.png")


def test_the_seed_decides_the_pairs(marl: Marl, tmp_path: Path) -> None:
    for seed, out in ((1, "one"), (1, "same"), (2, "other")):
        assert marl("decay", *LARGE, f"seed={seed}", f"out={out}").code == 0
    one, same, other = (result(tmp_path / out)["largest"] for out in ("one", "same", "other"))
    assert one == same
    assert one != other


@pytest.mark.parametrize("network", [SMALL, LARGE], ids=["all pairs", "random pairs"])
def test_all_agents(marl: Marl, tmp_path: Path, network: tuple[str, ...]) -> None:
    table = printed(marl("decay", *network, "agents=null", "out=here"))
    found = result(tmp_path / "here")
    n = len(found["agents"])
    assert found["agents"] == list(range(n))
    assert n == int(network[1].rpartition(":")[2])
    by_agent = np.array(found["largest"])
    assert by_agent.shape == (n, n)
    assert (by_agent[-1, [0, -1]] == 0.0).all()
    assert list(found["fits"]) == [str(i) for i in range(n)]
    assert set(fitted(table.lines)) == set(range(n))
    assert table.kappas() == {"where it was measured": enough(by_agent.max(axis=1).tolist(), 0.01)}


def test_no_agent_is_left_out_of_the_table(marl: Marl) -> None:
    """Six agents have a column of their own; kappa must be enough for the others too."""
    table = printed(marl("decay", "env=random_local_mdp", "env.graph=line:8", "env.num_actions=1", "agents=null"))
    assert list(table.cells) == [*(f"agent {i}" for i in range(6)), "all 8 agents"]
    largest = [float(cell) for cell in table.cells["all 8 agents"]]
    assert any(value > max(float(table.cells[f"agent {i}"][k]) for i in range(6)) for k, value in enumerate(largest))
    assert table.kappas() == {"where it was measured": enough(largest, 0.01)}


@pytest.mark.parametrize("graph", ["line:1", "line:2"])
def test_too_few_radii_to_fit(marl: Marl, tmp_path: Path, graph: str) -> None:
    """Strict JSON, a picture, and a sentence in place of a rate."""
    table = printed(marl("decay", "env=random_local_mdp", f"env.graph={graph}", "out=here"))
    assert "agent 0: too few radii with influence to fit a rate" in table.lines
    assert result(tmp_path / "here")["fits"] == {"0": None}
    assert (tmp_path / "here" / "decay.png").read_bytes().startswith(b"\x89PNG")


def test_accuracy(marl: Marl) -> None:
    """Zero asks for the radius beyond which there is nothing at all."""
    kappas = [printed(marl("decay", *SMALL, f"accuracy={x}")).kappas()["where it was measured"] for x in (0, 0.01, 9)]
    assert kappas == [3, 2, 0]


def test_the_trained_policy_of_a_run(marl: Marl, tmp_path: Path) -> None:
    run = ("replicas=2", "steps=200", "actor_scheduler.value=20", "eval.steps=0", "logger=none")
    assert marl("train", *SMALL, *run).code == 0
    (directory,) = (path.parent for path in tmp_path.rglob("summary.json"))
    relative = str(directory.relative_to(tmp_path))
    assert "=" in relative
    table = printed(marl("decay", relative, "agents=[1,3]", "out=here"))
    env = random_local_mdp("line:4")
    policy = TabularSoftmax(env, replicas=2)
    policy.load_state_dict(torch.load(directory / "checkpoint.pt", weights_only=True)["state"]["trainer"]["policy"])
    trained, untrained = (JointPairs(Chain(env, part, replica=0)) for part in (policy, Uniform(env)))
    for i in (1, 3):
        assert table.cells[f"agent {i}"] == shown(worst_decay(trained, i).tolist(), 4)
        assert table.cells[f"agent {i}"] != shown(worst_decay(untrained, i).tolist(), 4)
    assert result(tmp_path / "here")["agents"] == [1, 3]
    assert f"the policy of {relative} (replica 0)" in table.lines[0]


def test_a_chain_that_forgets_nothing(marl: Marl, tmp_path: Path) -> None:
    """Two absorbing states: long-run averages depend on the start, so Q is not defined."""
    stay = np.broadcast_to(np.eye(2)[:, None, None, :], (2, 2, 1, 2))  # P(s'|s_i, s_j, a_i), the other's state second
    tables = [stay, np.swapaxes(stay, 0, 1)]
    LocalMDP(Network.line(2), tables, [np.array([[0.0], [1.0]])] * 2).save(tmp_path / "absorbing.npz")
    before = contents(tmp_path)
    parts = ("env=local_mdp", "env.path=absorbing.npz")
    assert_refused(marl("decay", *parts), "more than one recurrent class", "depend on the start")
    assert contents(tmp_path) == before
    table = printed(marl("certify", *parts, "out=here"))
    assert table.cells == {}
    assert table.said("left side of (4)").startswith("not measured, because the chain has more than one recurrent class")
    assert json.loads((tmp_path / "here" / "certificate.json").read_text())["columns"] == {}


def test_a_network_that_is_too_large(marl: Marl, tmp_path: Path) -> None:
    """2^40 states: 3 vectors of 8 bytes each take 24 TiB at least; said, not tried."""
    outcome = marl("decay", "env=random_local_mdp", "env.graph=line:40", "out=here/deeper")
    assert_refused(outcome, "1.1e+12 joint states", " GiB", "more than the 4 GiB allowed")
    needed = re.search(r"need (\S+) GiB", outcome.err)
    assert needed is not None
    assert float(needed[1]) >= 3 * 2**40 * 8 / 2**30
    assert contents(tmp_path) == {}
    table = printed(marl("certify", "env=random_local_mdp", "env.graph=line:40"))
    assert "more than the 4 GiB allowed" in table.said("left side of (4)")


def test_memory_is_the_users_to_allow(marl: Marl) -> None:
    network = ("env=random_local_mdp", "env.graph=line:10", "samples=2")
    assert marl("decay", *network, "memory=1").code == 0
    assert_refused(marl("decay", *network, "env.graph=line:16", "memory=0.001"), "more than the 0.001 GiB allowed")
