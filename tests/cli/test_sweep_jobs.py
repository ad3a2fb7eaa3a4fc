"""Sweeps in which something is wrong: one bad job, or a bad sweep."""

from pathlib import Path

import pytest

from tests.cli.command import SMALL, Marl, contents, summary_of


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
    there = "additive, graph, neural, pairwise, random_features, shared, state_value, tabular"
    assert outcome.err == f"marl: Could not find 'critic/nosuch'; there are: {there}\n"
    assert contents(tmp_path, ignore="multirun.yaml").keys() <= {"outputs"}


def test_flags_may_stand_anywhere(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *SMALL, "-m", "logger=none", "seed=0,1").code == 0
    assert len(list(tmp_path.rglob("summary.json"))) == 2
