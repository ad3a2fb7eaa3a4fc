"""The same sweep, one job after another, side by side, and on the engines of clusters: the same numbers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command import metrics_of

SWEEP = ("-m", "env.rows=2", "env.cols=3", "critic.kappa=0,1", "seed=0,1", "replicas=2", "steps=200", "eval.steps=0")
LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "ray": [
        "hydra/launcher=ray",
        "+hydra.launcher.ray.init.num_cpus=2",
        "+hydra.launcher.ray.init.include_dashboard=false",
    ],
    "submitit": ["hydra/launcher=submitit_local"],
}


def sweep(directory: Path, *more: str) -> dict[str, dict[str, np.ndarray]]:
    """Runs it and returns the metrics of every run by its name."""
    command = [sys.executable, "-m", "marl", "train", *SWEEP, "logger=none", *more]
    done = subprocess.run(command, cwd=directory, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert "4 jobs: 4 finished, 0 not" in done.stderr.decode()
    return {path.parent.parent.name + path.parent.name: metrics_of(path.parent) for path in directory.rglob("summary.json")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    return sweep(tmp_path_factory.mktemp("basic"))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_same_numbers(
    tmp_path: Path, expected: dict[str, dict[str, np.ndarray]], launcher: str
) -> None:
    found = sweep(tmp_path, *LAUNCHERS[launcher])
    assert found.keys() == expected.keys()
    assert len(found) == 4
    for name, arrays in found.items():
        assert arrays.keys() == expected[name].keys()
        for tag in arrays:
            np.testing.assert_array_equal(arrays[tag], expected[name][tag], err_msg=f"{name} {tag}")
