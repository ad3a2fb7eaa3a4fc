"""Parts from outside the library: found beside the user, named in the directory, resumed and evaluated like ours."""

import json
import shutil
from pathlib import Path

import pytest

from marl import load_policy
from tests.cli.command import SMALL, Marl, assert_same_numbers, contents, summary_of

PROJECT = Path(__file__).parents[2] / "examples" / "my_project"
OWN = ("--config-dir", "conf", "env=flu", "critic=pooled", "critic.kappa=1", "eval.steps=0", "logger=none")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example, which is the working directory of the command."""
    shutil.copytree(PROJECT, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "outputs"))
    return tmp_path


def test_a_module_in_the_working_directory_is_found(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from marl.policies import Uniform\n\n\nclass Mine(Uniform):\n    pass\n")
    assert marl("train", *SMALL, "policy=uniform", "policy._target_=mine.Mine", "hydra.run.dir=run").code == 0
    assert summary_of(tmp_path / "run")["config"]["policy"] == {"_target_": "mine.Mine"}


def test_a_run_of_own_parts_is_resumed_and_evaluated(marl: Marl, project: Path) -> None:
    assert marl("train", *OWN, "steps=80", "log_every=4", "hydra.run.dir=whole").code == 0
    assert marl("train", *OWN, "steps=40", "log_every=4", "hydra.run.dir=run").code == 0
    outcome = marl("train", "--config-dir", "conf", "resume=run", "steps=80")
    assert outcome.code == 0, outcome
    assert_same_numbers(project / "run", project / "whole")
    measured, same = (marl("evaluate", run, "eval.steps=20", "trust=true") for run in ("run", "whole"))
    assert measured.code == 0, measured
    assert measured.out == same.out


NOTING = """import numpy as np
from marl.policies import Uniform


class Noting(Uniform):
    def get_extra_state(self):
        return {"seen": %s}

    def set_extra_state(self, state):
        self.seen = state["seen"]
"""


@pytest.mark.parametrize("kept", ["np.zeros(2)", "[np.float64(1.0)]", "(1, {2, 3})"])
def test_a_state_that_no_checkpoint_can_hold_is_refused_before_it_is_learned(marl: Marl, tmp_path: Path, kept: str) -> None:
    (tmp_path / "noting.py").write_text(NOTING % kept)
    outcome = marl("train", *SMALL, "policy=uniform", "policy._target_=noting.Noting", "hydra.run.dir=run")
    assert outcome.code == 2
    told = outcome.err.splitlines()[-1]
    assert told.startswith("marl: the state of the trainer['policy']['_extra_state']['seen']")
    assert "a checkpoint holds tensors, numbers and strings" in told
    assert not (tmp_path / "run").exists()


def test_a_state_of_numbers_and_texts_is_kept(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "noting.py").write_text(NOTING % "[1, 2.5, 'x', (None, True)]")
    assert marl("train", *SMALL, "policy=uniform", "policy._target_=noting.Noting", "hydra.run.dir=run").code == 0
    assert load_policy(tmp_path / "run", trust=True).seen == [1, 2.5, "x", (None, True)]


def test_force_takes_the_same_directory(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *SMALL).code == 0
    assert marl("train", *SMALL, "force=true", "seed=0").code == 0
    assert len(list(tmp_path.rglob("summary.json"))) == 1


def test_values_with_slashes_make_no_folders(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "few.json").write_text(json.dumps([[0], [0, 1]]))
    assert marl("train", "steps=40", "eval.steps=0", "logger=none", "env.incidence=sub/few.json").code == 0
    (run,) = (path.parent for path in tmp_path.rglob("summary.json"))
    assert run.parent.parent == tmp_path / "outputs"
    assert "env.incidence=sub_few.json" in run.parent.name


def test_long_lists_make_names_that_fit_and_differ(marl: Marl, tmp_path: Path) -> None:
    """A file name may have 255 bytes."""
    for last in (0.25, 0.5):
        arrival = ",".join(["0.125"] * 59 + [str(last)])
        overrides = ["env.rows=6", "env.cols=10", f"env.arrival=[{arrival}]", "steps=20", "eval.steps=0", "logger=none"]
        assert marl("train", *overrides).code == 0
    assert len(list(tmp_path.rglob("summary.json"))) == 2
    assert all(len(Path(path).name.encode()) <= 255 for path in contents(tmp_path))


@pytest.mark.parametrize("critic", ["pooled", "neural", "pairwise", "tabular"])
def test_an_own_critic_learns_in_batches_next_to_ours(marl: Marl, project: Path, critic: str) -> None:
    batches = ("trainer=rollout_actor_critic", "trainer.rollout=8", "critic.kappa=1", "steps=40", "eval.steps=20")
    outcome = marl("train", "--config-dir", "conf", *SMALL, *batches, f"critic={critic}", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    assert summary_of(project / "run")["status"] == "finished"
