"""Sweeps in which something is wrong: one bad job, or a bad sweep."""

from pathlib import Path

import pytest

from tests.cli.command import SMALL, Marl, contents, summary_of

FEW = ("steps=40", "eval.steps=0", "logger=none")


@pytest.mark.parametrize(
    ("key", "bad", "code", "fragment"),
    [("critic.kappa", "-1", 2, "got -1"), ("critic_scheduler.value", "1000000000000", 1, "diverged")],
    ids=["refused", "diverged"],
)
def test_a_failing_job_stops_no_other(marl: Marl, tmp_path: Path, key: str, bad: str, code: int, fragment: str) -> None:
    outcome = marl("train", "-m", f"{key}=0,{bad},1", *SMALL, "logger=none")
    assert outcome.code == code
    assert "Traceback" not in outcome.err
    assert outcome.err.splitlines()[-1].startswith("marl: ")
    assert fragment in outcome.err.splitlines()[-1]
    assert f"{key}={bad}" in outcome.err  # which job it was
    runs = {path.parent.name.partition(",")[0]: path for path in (tmp_path / "outputs").glob("*/seed=0")}
    for value in ("0", "1"):
        assert summary_of(runs.pop(f"{key}={value}"))["status"] == "finished"
    if code == 2:
        assert runs == {}  # nothing is left of a job that never started
    else:
        assert summary_of(runs[f"{key}={bad}"])["status"] == "diverged"


def test_a_sweep_that_cannot_start(marl: Marl, tmp_path: Path) -> None:
    outcome = marl("train", "-m", "critic=tabular,nosuch", *SMALL)
    assert (outcome.code, outcome.out) == (2, "")
    kinds = "additive graph graph_state_value neural neural_state_value pairwise random_features shared state_value tabular"
    there = ", ".join(kinds.split())
    assert outcome.err == f"marl: Could not find 'critic/nosuch'; there are: {there} (--config-dir DIR adds your own)\n"
    assert contents(tmp_path, ignore="multirun.yaml").keys() <= {"outputs"}


def test_flags_may_stand_anywhere(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *SMALL, "-m", "logger=none", "seed=0,1").code == 0
    assert len(list(tmp_path.rglob("summary.json"))) == 2


def test_a_job_whose_settings_are_incomplete_is_named(marl: Marl, tmp_path: Path) -> None:
    """A local MDP needs a path; the other job, in a sweep of two, goes on."""
    outcome = marl("train", "-m", "env=local_mdp,coloring", *FEW)
    assert outcome.code == 2
    head, line = outcome.err.splitlines()[-2:]
    assert head == "2 jobs: 1 finished, 1 not"
    assert line.startswith("marl: env=local_mdp ")
    assert "refused: env.path must be given" in line
    assert "Traceback" not in outcome.err
    (run,) = (path.parent for path in tmp_path.rglob("summary.json"))
    assert "env=coloring," in str(run)
    assert summary_of(run)["status"] == "finished"


def test_records_of_another_sweep_stay_and_do_not_count(marl: Marl, tmp_path: Path) -> None:
    """It may be at work in the same directory."""
    other = tmp_path / "outputs" / ".jobs" / "other" / "000000.json"
    other.parent.mkdir(parents=True)
    other.write_text('{"name": "other", "status": "failed", "reason": "", "code": 1, "process": ["", null]}')
    before = other.read_bytes()
    outcome = marl("train", "-m", *FEW, "env.rows=2", "seed=0,1")
    assert outcome.code == 0
    assert outcome.err.splitlines()[-1] == "2 jobs: 2 finished, 0 not"
    assert other.read_bytes() == before
    assert list((tmp_path / "outputs" / ".jobs").iterdir()) == [other.parent]


@pytest.mark.parametrize("seeds", ["0", "0,1"])
def test_a_sweep_leaves_no_records(marl: Marl, tmp_path: Path, seeds: str) -> None:
    for _ in range(2):  # the second finds everything finished
        outcome = marl("train", "-m", *SMALL, "logger=none", f"seed={seeds}")
        assert outcome.code == 0
        count = len(seeds.split(","))
        assert outcome.err.splitlines()[-1] == f"{count} jobs: {count} finished, 0 not"
        assert not (tmp_path / "outputs" / ".jobs").exists()
