"""Directories that a run may not use, and checkpoints that are not what they should be: refused, nothing touched."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from marl.runs import checkpoint
from marl.trainers import ScalableActorCritic
from tests.cli.command import SMALL, Bomb, Marl, assert_refused, command_in, contents

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
    resume = f"resume={quote}{run.relative_to(tmp_path)}{quote}"
    assert_refused(marl("train", resume, "steps=80", "critic.kappa=1"), "critic.kappa is 0 there and 1 here")
    assert_refused(marl("train", resume, "steps=20"), "20", "40")
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
    assert_refused(marl("evaluate", "run"), "format 99", "format 5", "the version that wrote it")


def changed(*keys: str, to: Any = None) -> Callable[[Any], None]:
    """What puts `to` at the place `keys` of a checkpoint, or takes away what is there."""

    def change(node: Any) -> None:
        for key in keys[:-1]:
            node = node[key]
        if to is None:
            del node[keys[-1]]
        else:
            node[keys[-1]] = to

    return change


CHANGES = {
    "no state": changed("state", to={}),
    "a list of states": changed("state", to=[1]),
    "no trainer": changed("state", "trainer"),
    "a trainer without t": changed("state", "trainer", "t"),
    "t before the start": changed("state", "trainer", "t", to=-5),
    "t between two steps": changed("state", "trainer", "t", to=20.5),
    "a trainer without s": changed("state", "trainer", "s"),
    "s out of range": changed("state", "trainer", "s", to=torch.full((1, 6), 10**6)),
    "s below 0": changed("state", "trainer", "s", to=torch.full((1, 6), -1)),
    "a out of range": changed("state", "trainer", "a", to=torch.full((1, 6), 10**6)),
    "s of floats": changed("state", "trainer", "s", to=torch.zeros(1, 6)),
    "s in words": changed("state", "trainer", "s", to="somewhere"),
    "fewer agents": changed("state", "trainer", "a", to=torch.zeros(1, 5, dtype=torch.int64)),
    "rewards of fewer agents": changed("state", "trainer", "interval", "reward", to=torch.zeros(1, 1)),
    "more replicas": changed("state", "trainer", "logged_reward", to=torch.zeros(3)),
    "no interval": changed("state", "trainer", "interval", to={}),
    "no critic": changed("state", "trainer", "critic"),
    "theta of another shape": changed("state", "trainer", "policy", "theta", to=torch.zeros(1, 6, 2, 2)),
    "no theta": changed("state", "trainer", "policy", "theta"),
    "no rows": changed("state", "arrays", to={}),
    "no last tenth": changed("state", "last_tenth", to=0),
    "no log_every": changed("state", "log_every"),
    "no configuration": changed("config", to="{}"),
    "a configuration of something else": changed("config", to="[3]"),
    "another format with another layout": lambda content: (content.clear(), content.update(format=99, payload="x")),
}


OF_OPTIMIZERS = {
    "an optimizer in words": changed("state", "trainer", "actor_optimizer", to="Adam"),
    "no optimizer": changed("state", "trainer", "actor_optimizer"),
    "another optimizer": changed("state", "trainer", "critic_optimizer", to={"state": {0: {}}, "param_groups": []}),
}
MOMENTUM = "+trainer.actor_optimizer.momentum=0.9"


def unfinished(factory: pytest.TempPathFactory, *overrides: str) -> Path:
    """A run of half the length that it is to have."""
    directory = factory.mktemp("sound")
    with command_in(directory) as marl:
        train(marl, "run", "steps=20", *overrides)
    (directory / "run" / "summary.json").unlink()
    return directory / "run"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unfinished(tmp_path_factory)


@pytest.fixture(scope="module")
def with_momentum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unfinished(tmp_path_factory, MOMENTUM)


def assert_nothing_taken(marl: Marl, sound: Path, run: Path, change: Callable[[Any], None], *overrides: str) -> None:
    """A copy of the run, its checkpoint changed: one sentence, whatever is wrong in it, and nothing is touched."""
    file = run / "checkpoint.pt"
    shutil.copytree(sound, run)
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)
    before = contents(run, ignore="train.log")
    for request in (("resume=run", "steps=40"), (*QUICK, *overrides, "steps=20", "hydra.run.dir=run")):
        outcome = marl("train", *request)
        assert outcome.code == 2, outcome
        assert outcome.err.splitlines()[-1].startswith("marl: "), outcome
        assert "checkpoint" in outcome.err.splitlines()[-1]
        assert "Traceback" not in outcome.err
        assert contents(run, ignore="train.log") == before


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_of_other_contents(marl: Marl, tmp_path: Path, sound: Path, change: str) -> None:
    assert_nothing_taken(marl, sound, tmp_path / "run", CHANGES[change])


@pytest.mark.parametrize("change", OF_OPTIMIZERS)
def test_a_checkpoint_of_another_optimizer(marl: Marl, tmp_path: Path, with_momentum: Path, change: str) -> None:
    assert_nothing_taken(marl, with_momentum, tmp_path / "run", OF_OPTIMIZERS[change], MOMENTUM)


@pytest.mark.parametrize(
    "change", ["no state", "no trainer", "theta of another shape", "no theta", "another format with another layout"]
)
def test_a_policy_of_other_contents(marl: Marl, tmp_path: Path, sound: Path, change: str) -> None:
    """What only evaluates it needs less of the file."""
    shutil.copytree(sound, tmp_path / "run")
    content = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    CHANGES[change](content)
    torch.save(content, tmp_path / "run" / "checkpoint.pt")
    assert_refused(marl("evaluate", "run", "eval.steps=20"), "checkpoint")
    assert_refused(marl("export", "run", "policy.json"), "checkpoint")


def test_resuming_to_where_it_stands(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 80 steps that was stopped after 40 is no finished run of 40: its last tenth was never measured."""
    advance = ScalableActorCritic._advance

    def stopped(trainer: ScalableActorCritic, steps: int) -> None:
        if trainer.t == 40:
            raise KeyboardInterrupt
        advance(trainer, steps)

    command = (*QUICK, "checkpoint.every=40", "hydra.run.dir=run")
    with monkeypatch.context() as patch:
        patch.setattr(ScalableActorCritic, "_advance", stopped)
        assert marl("train", *command, "steps=80").code == 130
    before = contents(tmp_path, ignore="train.log")
    for request in (("resume=run", "steps=40"), (*command, "steps=40")):
        assert_refused(marl("train", *request), "at step 40", "steps=40 leaves nothing to do", "give more steps")
        assert contents(tmp_path, ignore="train.log") == before
    assert marl("train", *command, "steps=80").code == 0


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
