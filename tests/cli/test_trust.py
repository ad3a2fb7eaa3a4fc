"""A run directory from somebody else runs no code of its choosing, whatever command reads it; with trust=true it may."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from marl import load_policy
from marl.core.errors import ConfigError
from tests.cli.command import Marl, assert_refused, command_in

RAN = "import pathlib\nfrom marl import Coloring, TabularSoftmax\npathlib.Path('ran').touch()\n"
MODULE = RAN + "class Env(Coloring):\n    pass\n\n\nclass Policy(TabularSoftmax):\n    pass\n"
"""It leaves a file where it is imported."""

TWO = ("env=coloring", "env.graph=line:2", "steps=20", "eval.steps=0", "logger=none")
COMMANDS = {
    "evaluate": ("evaluate", "run", "eval.steps=20"),
    "export": ("export", "run", "out/policy.json"),
    "certify": ("certify", "run", "out=out"),
    "decay": ("decay", "run", "out=out", "agents=[0]"),
    "watch": ("watch", "run", "out=out/watch.html", "steps=2"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The checkpoint of a small run."""
    directory = tmp_path_factory.mktemp("sound")
    with command_in(directory) as marl:
        assert marl("train", *TWO, "hydra.run.dir=run").code == 0
    saved: dict[str, Any] = torch.load(directory / "run" / "checkpoint.pt", weights_only=True)
    return saved


@pytest.fixture
def run(sound: dict[str, Any], tmp_path: Path) -> Any:
    """run({"env": ...}) writes that run with another part, beside a module that says when it is imported."""

    def changed(parts: dict[str, Any]) -> Path:
        config = json.loads(sound["config"])
        for name, part in parts.items():
            config[name] = {**config[name], **part}
        (tmp_path / "run" / ".hydra").mkdir(parents=True)
        state = {name: part for name, part in sound["state"].items() if name != "code"}  # as earlier versions wrote it
        torch.save({**sound, "config": json.dumps(config), "state": state}, tmp_path / "run" / "checkpoint.pt")
        (tmp_path / "run" / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
        (tmp_path / "theirs.py").write_text(MODULE)
        return tmp_path / "run"

    return changed


OTHERS: dict[str, dict[str, Any]] = {
    "env": {"env": {"_target_": "theirs.Env"}},
    "policy": {"policy": {"_target_": "theirs.Policy"}},
    "nested": {"env": {"graph": {"_target_": "theirs.Env"}}},
    "in a list": {"env": {"graph": ["line:2", {"_target_": "theirs.Env"}]}},
    "function": {"env": {"_target_": "os.mkdir", "path": "ran"}},
}


@pytest.mark.parametrize("parts", OTHERS.values(), ids=OTHERS.keys())
def test_no_code_of_a_run_is_run(run: Any, marl: Marl, tmp_path: Path, parts: dict[str, Any]) -> None:
    run(parts)
    for command in COMMANDS.values():
        assert_refused(marl(*command), "outside the library", "trust=true", "docs/security.md")
    with pytest.raises(ConfigError, match=r"load_policy\(\.\.\., trust=True\)"):
        load_policy("run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "theirs.py"]


@pytest.mark.parametrize("command", COMMANDS)
def test_trust_lets_own_classes_in(run: Any, marl: Marl, tmp_path: Path, command: str) -> None:
    run({"env": {"_target_": "theirs.Env"}, "policy": {"_target_": "theirs.Policy"}})
    outcome = marl(*COMMANDS[command], "trust=true")
    assert outcome.code == 0, outcome
    assert (tmp_path / "ran").exists()


def test_trust_is_no_leave_to_call_functions(run: Any, marl: Marl, tmp_path: Path) -> None:
    run(OTHERS["function"])
    assert_refused(marl(*COMMANDS["evaluate"], "trust=true"), "env._target_=os.mkdir makes no Environment")
    assert not (tmp_path / "ran").exists()


def test_a_module_beside_a_strange_run_hides_nothing(run: Any, marl: Marl) -> None:
    """The current directory may be that of the run: without trust, modules are not looked for in it."""
    run({})
    assert marl(*COMMANDS["evaluate"]).code == 0
    assert str(Path.cwd()) not in sys.path


@pytest.mark.parametrize(
    "text",
    [
        "hydra.callbacks.x._target_=theirs.Env",
        "+hydra.callbacks.x={_target_:theirs.Env}",
        "hydra/launcher=theirs",
        "hydra.searchpath=[file://run]",
        "+env@hydra.callbacks.x=wireless",
        "+experiment@_global_.hydra=wireless",
        "experiment=../../run/theirs",
        "+experiment=[../../run/theirs]",
        "experiment=${oc.env:HOME}",
    ],
)
def test_resume_takes_no_orders_to_hydra(run: Any, marl: Marl, tmp_path: Path, text: str) -> None:
    (run({}) / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([text]))
    for trust in ((), ("trust=true",)):
        assert_refused(marl("train", "resume=run", "steps=40", *trust), "overrides.yaml holds", text, "remove it")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    ["env._target_=theirs.Env", "env.graph={_target_:theirs.Env}"],
)
def test_resume_imports_no_strangers(run: Any, marl: Marl, tmp_path: Path, text: str) -> None:
    (run({}) / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["env=coloring", text]))
    assert_refused(marl("train", "resume=run", "steps=40"), "names theirs.Env", "trust=true")
    assert not (tmp_path / "ran").exists()


def test_an_own_run_is_resumed_with_trust(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(MODULE)
    own = ("policy._target_=theirs.Policy",)
    assert marl("train", *TWO, *own, "hydra.run.dir=run").code == 0
    assert_refused(marl("train", "resume=run", "steps=80"), "names theirs.Policy", "trust=true")
    assert marl("train", "resume=run", "steps=80", "trust=true").code == 0
    assert marl("train", *TWO, *own, "hydra.run.dir=run", "steps=80").code == 0  # what was typed needs no trust


@pytest.mark.parametrize("text", [["steps=40", 3], {"a": 1}, [["a"]], "steps=40", ["steps"]])
def test_overrides_that_are_none(run: Any, marl: Marl, text: Any) -> None:
    (run({}) / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(text))
    assert_refused(marl("train", "resume=run"), "overrides.yaml cannot be read")


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("train", "trust=true"), "is for resume=RUN_DIR"),
        (("certify", "trust=true"), "is for a RUN_DIR"),
        (("train", "trust=maybe"), "must be true or false"),
        (("evaluate", "run", "trust=1"), "must be true or false"),
    ],
)
def test_trust_where_there_is_nothing_to_trust(marl: Marl, words: tuple[str, ...], fragment: str) -> None:
    assert_refused(marl(*words), fragment)
