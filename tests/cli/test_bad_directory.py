"""Directories that a run may not use, and checkpoints that are not what they should be: refused, nothing touched."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from marl.core import checkpoint
from tests.cli.command import SMALL, Marl, assert_refused, contents

QUICK = (*SMALL, "logger=none")


def train(marl: Marl, directory: str, *overrides: str) -> None:
    outcome = marl("train", *QUICK, *overrides, f"hydra.run.dir={directory}")
    assert outcome.code == 0, outcome


def damage(path: Path) -> None:
    """Cuts a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("stopped", [False, True], ids=["finished", "unfinished"])
def test_a_directory_that_holds_another_configuration(marl: Marl, tmp_path: Path, stopped: bool) -> None:
    train(marl, "run", "critic.kappa=0")
    if stopped:
        (tmp_path / "run" / "summary.json").unlink()
    before = contents(tmp_path)
    outcome = marl("train", *QUICK, "hydra.run.dir=run", "critic.kappa=1")
    assert_refused(outcome, f"{tmp_path}/run", "critic.kappa is 0 there and 1 here", "force=true")
    assert contents(tmp_path) == before


def test_every_key_that_differs_is_named(marl: Marl) -> None:
    train(marl, "run")
    outcome = marl("train", *QUICK, "hydra.run.dir=run", "critic=neural", "seed=3", "env.rows=3")
    assert_refused(outcome, "env.rows is 2 there and 3 here", "seed is 0 there and 3 here", "NeuralCritic")


@pytest.mark.parametrize("key", ["threads=2", "logger=none", "checkpoint.every=7"])
def test_keys_that_change_no_number_may_differ(marl: Marl, key: str) -> None:
    train(marl, "run")
    assert marl("train", *SMALL, key, "hydra.run.dir=run").code == 0


@pytest.mark.parametrize("steps", [20, 80])
def test_a_finished_run_of_another_length(marl: Marl, tmp_path: Path, steps: int) -> None:
    train(marl, "run")
    before = contents(tmp_path)
    assert_refused(marl("train", *QUICK, "hydra.run.dir=run", f"steps={steps}"), "40 steps", f"not {steps}", "resume=")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("wrong", "fragment"),
    [
        ("logger._target_=nosuch.Logger", "logger._target_"),
        ("critic.kappa=-1", "kappa"),
        ("log_every=500", "log_every=500"),
    ],
)
def test_force_destroys_nothing_for_a_wrong_request(marl: Marl, tmp_path: Path, wrong: str, fragment: str) -> None:
    train(marl, "run")
    before = contents(tmp_path)
    assert_refused(marl("train", *SMALL, "hydra.run.dir=run", "force=true", wrong), fragment)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("quote", ["", "'"], ids=["as typed", "quoted"])
def test_resume_refuses_another_critic(marl: Marl, tmp_path: Path, quote: str) -> None:
    assert marl("train", *QUICK).code == 0
    (run,) = (tmp_path / "outputs").glob("*/seed=0")  # its name has commas and equal signs
    before = contents(tmp_path)
    told = f"resume={quote}{run.relative_to(tmp_path)}{quote}"
    assert_refused(marl("train", told, "steps=80", "critic.kappa=1"), "critic.kappa is 0 there and 1 here")
    assert_refused(marl("train", told, "steps=20"), "20", "40")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("place", ["nowhere", "empty", "a_file"])
def test_resume_needs_a_run(marl: Marl, tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").touch()
    before = contents(tmp_path)
    assert_refused(marl("train", f"resume={place}", "steps=80"), f"resume={place}", "directory of a run")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("spoil", ["kappa", "seed", "damaged", "not ours", "gone"])
def test_a_checkpoint_that_is_not_of_the_run(marl: Marl, tmp_path: Path, spoil: str) -> None:
    train(marl, "run")
    file, fragment = tmp_path / "run" / "checkpoint.pt", "checkpoint.pt"
    if spoil in ("kappa", "seed"):
        change, fragment = {"kappa": ("critic.kappa=1", "critic.kappa is"), "seed": ("seed=7", "seed is")}[spoil]
        train(marl, "other", change)
        shutil.copy(tmp_path / "other" / "checkpoint.pt", file)
    elif spoil == "damaged":
        damage(file)
    elif spoil == "not ours":
        file.write_text("hello")
    else:
        file.unlink()
    before = contents(tmp_path)
    assert_refused(marl("train", "resume=run", "steps=80"), fragment)
    assert_refused(marl("evaluate", "run"), fragment)
    assert contents(tmp_path) == before


class Bomb:
    """Makes a directory where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_no_code_of_a_checkpoint_is_run(marl: Marl, tmp_path: Path) -> None:
    train(marl, "run")
    torch.save({"format": checkpoint.FORMAT, "config": "{}", "state": Bomb()}, tmp_path / "run" / "checkpoint.pt")
    assert_refused(marl("evaluate", "run"), "checkpoint.pt", "damaged or not one of ours")
    assert_refused(marl("train", "resume=run", "steps=80"), "checkpoint.pt", "damaged or not one of ours")
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_another_format_is_named(marl: Marl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    train(marl, "run")
    monkeypatch.undo()
    assert_refused(marl("evaluate", "run"), "format 99", "format 2")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["nowhere"], "nowhere"),
        (["empty"], "empty/checkpoint.pt"),
        (["run", "foo=1"], "'foo=1'"),
        (["run", "eval.steps"], "'eval.steps'"),
        (["run", "eval.steps=5"], "eval.steps"),
        (["run", "eval.steps=[1"], "eval.steps"),
        (["run", "eval.burn_in=-1"], "eval.burn_in"),
        (["run", "seed=abc"], "seed"),
    ],
)
def test_evaluate_refuses(marl: Marl, tmp_path: Path, arguments: list[str], fragment: str) -> None:
    (tmp_path / "empty").mkdir()
    train(marl, "run")
    before = contents(tmp_path)
    assert_refused(marl("evaluate", *arguments), fragment)
    assert contents(tmp_path) == before
