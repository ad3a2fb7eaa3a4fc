"""experiments/fig3_decay.py runs from the command line, writes what it promises, and says whether decay is seen."""

import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from marl.envs import graph, random_local_mdp
from marl.exact import Chain, JointPairs
from marl.exact.interaction import random_pairs
from marl.policies import RandomTable
from tests.programs import program
from tests.test_experiments import REPOSITORY, script

PROGRAM = str(REPOSITORY / "experiments" / "fig3_decay.py")
GRAPHS = {"line:10": (10, 9), "grid:2x6": (12, 6)}
"""The graphs of the paper: agents, and how far the last agent is from agent 0."""
DISTRIBUTIONS = ("normalized", "dirichlet")

Fig3 = tuple[subprocess.CompletedProcess[str], Path, dict[str, Any]]


@pytest.fixture(scope="module")
def fig3(tmp_path_factory: pytest.TempPathFactory) -> Fig3:
    """What the script printed, where it wrote, and the numbers."""
    directory = tmp_path_factory.mktemp("fig3")
    done = script("-W", "error", PROGRAM, "--instances", "3", "--out", "new/out", cwd=directory)
    assert done.returncode in (0, 1), done.stderr
    return done, directory / "new" / "out", json.loads((directory / "new" / "out" / "results.json").read_text())


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """The script as a module, to ask its parts."""
    return program("fig3_decay")


def test_it_writes_a_picture_and_numbers(fig3: Fig3) -> None:
    done, out, results = fig3
    assert sorted(path.name for path in out.iterdir()) == ["figure.png", "results.json"]
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "new/out/figure.png" in done.stdout
    assert "new/out/results.json" in done.stdout
    assert {"date", "command", "instances", "seed", "peak_memory_gib", *GRAPHS} == set(results)
    assert "--instances 3" in results["command"]
    assert (results["instances"], results["seed"]) == (3, 0)


def test_curves(fig3: Fig3) -> None:
    """As long as the network is wide, zero from there on, and solved to more digits than are shown."""
    for name, (n, eccentricity) in GRAPHS.items():
        for distribution in DISTRIBUTIONS:
            found = fig3[2][name][distribution]
            assert (found["agents"], found["joint_states"], found["eccentricity"]) == (n, 2**n, eccentricity)
            assert found["kappa"] == list(range(n))
            low, median, high = (np.array(found[key]) for key in ("p10", "median", "p90"))
            assert ((low <= median) & (median <= high)).all()
            assert (median[:eccentricity] > 0).all()
            assert (high[eccentricity:] == 0).all()
            assert 0 < found["rate_p10"] <= found["rate_median"] <= found["rate_p90"] < 1
            assert found["largest_residual"] < 1e-12
            assert found["error_bounded"] in range(4)


def test_it_says_whether_the_medians_fall(fig3: Fig3) -> None:
    """Exit code, verdict and numbers agree."""
    done, _, results = fig3
    falls = True
    for name, (_, eccentricity) in GRAPHS.items():
        rows = [line.split() for line in done.stdout.splitlines() if line.startswith(name)]
        assert [row[1] for row in rows] == list(DISTRIBUTIONS)
        for row, distribution in zip(rows, DISTRIBUTIONS, strict=True):
            found = results[name][distribution]
            assert row[2:5] == [f"{found[key]:.4f}" for key in ("rate_median", "rate_p10", "rate_p90")]
            falls = falls and bool((np.diff(found["median"][:eccentricity]) < 0).all())
    assert done.returncode == (0 if falls else 1)
    assert ("every median falls with kappa" in done.stdout) == falls
    assert ("does NOT fall" in done.stdout) == (not falls)


def test_a_median_that_does_not_fall_is_an_error(module: ModuleType) -> None:
    rising = {"eccentricity": 3, "rate_median": 0.5, "rate_p10": 0.4, "rate_p90": 0.6, "seconds": 1.0}
    good, bad = {**rising, "median": [3.0, 2.0, 1.0, 0.0]}, {**rising, "median": [3.0, 1.0, 2.0, 0.0]}
    text, falls = module.table({"instances": 1, "line:4": {"normalized": good, "dirichlet": good}}, ["line:4"])
    assert (falls, "every median falls" in text) == (True, True)
    text, falls = module.table({"instances": 1, "line:4": {"normalized": good, "dirichlet": bad}}, ["line:4"])
    assert (falls, "does NOT fall" in text) == (False, True)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_curves_are_differences_of_the_table_of_q(module: ModuleType, distribution: str) -> None:
    """On a network whose Q can be written out: instance by instance, agent 0, one draw of (s, a) and (s', a')."""
    curves = []
    for k in (5, 6, 7):
        env = random_local_mdp("grid:2x2", distribution=distribution, instance_seed=k)
        joint = JointPairs(Chain(env, RandomTable(env, distribution=distribution, instance_seed=k)))
        q = joint.q[:, 0].reshape(joint.sizes)
        s, a = random_pairs(env, 2, torch.Generator().manual_seed(k))
        one, other = (env.pair_index[torch.arange(4), s[x], a[x]].tolist() for x in (0, 1))
        curve = []
        for kappa in range(4):
            mixed = tuple(other[j] if env.network.distances(0)[j] > kappa else one[j] for j in range(4))
            curve.append(abs(float(q[mixed] - q[tuple(one)])))
        curves.append(curve)
    found = module.measure("grid:2x2", distribution, 3, 5)
    assert found["median"] == pytest.approx(np.median(curves, axis=0), rel=1e-9, abs=1e-14)
    assert found["p90"] == pytest.approx(np.percentile(curves, 90, axis=0), rel=1e-9, abs=1e-14)
    assert found["eccentricity"] == int(graph("grid:2x2").distances(0).max()) == 2


def test_a_graph_that_does_not_exist(tmp_path: Path) -> None:
    """One sentence."""
    done = script(PROGRAM, "--instances", "1", "--graphs", "line:ten", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("fig3_decay: ")
    assert "line:ten" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
