"""Half of the sweep of twelve, with the three that go wrong, on every launcher: they are named, the others are the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import metrics_of, summary_of
from tests.cli.test_twelve_jobs import SWEEP, TROUBLE

LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "ray": [
        "hydra/launcher=ray",
        "+hydra.launcher.ray.init.num_cpus=2",
        "+hydra.launcher.ray.init.include_dashboard=false",
    ],
    "submitit": ["hydra/launcher=submitit_local"],
}
REASONS = {
    3: "refused: env: number 3 is misconfigured",
    7: "failed: the process of the run was killed (signal 9)",
    9: "diverged: training diverged at step 0: the reward of agent 0",
}


def sweep(directory: Path, *launcher: str) -> dict[int, dict[str, bytes]]:
    """Runs it, sees that it ends as it must, and returns the metrics of those that finish by their number."""
    (directory / "trouble.py").write_text(TROUBLE)
    (directory / "bomb").touch()
    half = [text.replace("range(12)", "range(1,12,2)") for text in SWEEP]
    command, quiet = [sys.executable, "-m", "marl", *half, *launcher], {"RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, cwd=directory, env={**os.environ, **quiet}, capture_output=True, timeout=300)
    printed = done.stderr.decode().splitlines()
    assert done.returncode == 2, printed  # that of the first, which was misconfigured
    assert "6 jobs: 3 finished, 3 not" in printed
    lines = [line for line in printed if line.startswith("marl: ")]
    assert len(lines) == 3, lines
    for line, (number, why) in zip(lines, REASONS.items(), strict=True):
        assert f"env.number={number} " in line
        assert f": {why}" in line
    assert not (directory / "outputs" / ".jobs").exists()
    summaries = {path.parent: summary_of(path.parent) for path in directory.rglob("summary.json")}
    finished = {run: summary for run, summary in summaries.items() if summary["status"] == "finished"}
    return {
        summary["config"]["env"]["number"]: {tag: array.tobytes() for tag, array in metrics_of(run).items()}
        for run, summary in finished.items()
    }


@pytest.fixture(scope="module")
def one_after_another(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, bytes]]:
    """What the basic launcher gives."""
    return sweep(tmp_path_factory.mktemp("basic"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_ends_alike(tmp_path: Path, one_after_another: dict[int, dict[str, bytes]], launcher: str) -> None:
    assert set(one_after_another) == {1, 5, 11}
    assert sweep(tmp_path, *LAUNCHERS[launcher]) == one_after_another
