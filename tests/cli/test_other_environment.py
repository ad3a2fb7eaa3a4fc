"""A run goes on, is skipped or is evaluated in the environment that it was begun in, whatever that holds."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.command import Marl, assert_refused, command_in, contents, summary_of

PAID = """
import json
from pathlib import Path
import numpy as np
import torch
from marl import Environment, FiniteEnvironment, Network

class Paid(FiniteEnvironment):
    factor = 1.0

    def __init__(self, n: int = 3):
        self.pay = np.load("pay.npy")
        self.taxes = json.loads(Path("taxes.json").read_text())
        self.bonus = torch.nn.Parameter(torch.from_numpy(np.load("bonus.npy")))
        self.file = "later.txt"
        two = torch.full((n,), 2)
        super().__init__(Network.ring(n), num_states=two, num_actions=two, num_uniforms=1, reward_range=(0.0, 10.0),
            action_mask=torch.ones(n, 2, 2, dtype=torch.bool), private_actions=True, private_rewards=True)

    def _reset(self, u):
        return (u[..., 0] * 2).long()

    def _step(self, s, a, u):
        self.last = s  # a cache that fills up while it runs
        return a, self.factor * torch.from_numpy(self.pay)[None] * (a == 1)
"""
RUN = ("--config-dir", "conf", "env=paid", "steps=40", "eval.steps=0", "logger=none", "hydra.run.dir=run")
EARLIER = "run was written by an earlier version, which noted less of its environment"
RESUME = ("--config-dir", "conf", "resume=run", "steps=80")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in an environment of one's own that is made of files."""
    directory = tmp_path_factory.mktemp("paid")
    (directory / "conf/env").mkdir(parents=True)
    (directory / "conf/env/paid.yaml").write_text("_target_: paid.Paid\n")
    (directory / "paid.py").write_text(PAID)
    for name in ("pay", "bonus"):
        np.save(directory / f"{name}.npy", np.ones(3))
    (directory / "taxes.json").write_text('{"rates": [0.1, {"high": 0.2}]}')
    (directory / "later.txt").write_text("1")
    with command_in(directory) as marl:
        assert marl("train", *RUN).code == 0
    return directory


@pytest.fixture
def paid(begun: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    sys.modules.pop("paid", None)
    importlib.invalidate_caches()
    return tmp_path


CHANGES: dict[str, Callable[[Path], object]] = {
    "array": lambda at: np.save(at / "pay.npy", 9 * np.ones(3)),
    "parameter": lambda at: np.save(at / "bonus.npy", np.zeros(3)),
    "nested number": lambda at: (at / "taxes.json").write_text('{"rates": [0.1, {"high": 0.3}]}'),
    "file that is read later": lambda at: (at / "later.txt").write_text("2"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_environment_is_noticed(marl: Marl, paid: Path, change: Callable[[Path], object]) -> None:
    change(paid)
    before = contents(paid / "run")
    for command in (("train", *RESUME), ("train", *RUN), ("evaluate", "run", "eval.steps=40", "trust=true")):
        assert_refused(marl(*command), "run is of another environment", "what it holds, or a file it was made of")
    assert contents(paid / "run") == before


def test_other_code_is_noticed(marl: Marl, paid: Path) -> None:
    """A run does not go on in it; a policy may be looked at in it, which is said."""
    (paid / "paid.py").write_text(PAID.replace("factor = 1.0", "factor = 5.0"))
    for command in (("train", *RESUME), ("train", *RUN)):
        assert_refused(marl(*command), "run is of another environment", "its code has changed", "put it back")


def test_a_policy_is_evaluated_in_other_code(marl: Marl, paid: Path, caplog: pytest.LogCaptureFixture) -> None:
    (paid / "paid.py").write_text(PAID.replace("factor = 1.0", "factor = 5.0"))
    outcome = marl("evaluate", "run", "eval.steps=40", "trust=true")
    assert outcome.code == 0, outcome
    assert "its code has changed" in caplog.text


def test_the_same_environment_goes_on(marl: Marl, paid: Path) -> None:
    (paid / "paid.py").write_text(PAID.replace("    factor", '    """One\'s own."""\n\n    factor'))
    for path in paid.glob("*.npy"):
        path.write_bytes(path.read_bytes())
    assert marl("train", *RUN).code == 0
    assert marl("train", *RESUME).code == 0
    assert summary_of(paid / "run")["steps"] == 80


def test_a_run_of_an_earlier_version_goes_on(marl: Marl, paid: Path) -> None:
    """It noted a digest of tensors alone, which cannot be compared."""
    path = paid / "run/summary.json"
    summary = json.loads(path.read_text())
    del summary["code"]
    path.write_text(json.dumps({**summary, "environment": "0" * 64}))
    outcome = marl("train", *RUN)
    assert outcome.code == 0, outcome
    assert EARLIER in outcome.err
    saved = torch.load(paid / "run/checkpoint.pt", weights_only=True)
    del saved["state"]["code"]
    torch.save({**saved, "state": {**saved["state"], "environment": "0" * 64}}, paid / "run/checkpoint.pt")
    path.unlink()
    outcome = marl("train", *RESUME)
    assert outcome.code == 0, outcome
    assert EARLIER in outcome.err
    assert summary_of(paid / "run")["code"]


def test_other_code_of_another_part_is_told(marl: Marl, tmp_path: Path) -> None:
    code = "from marl import Uniform\nclass Mine(Uniform):\n    number = 1\n"
    small = ("env.rows=2", "env.cols=2", "eval.steps=0", "logger=none", "policy=uniform", "policy._target_=mine.Mine")
    (tmp_path / "mine.py").write_text(code)
    assert marl("train", *small, "steps=20", "hydra.run.dir=run").code == 0
    before = summary_of(tmp_path / "run")["code"]
    (tmp_path / "mine.py").write_text(code.replace("1", "2"))
    sys.modules.pop("mine")
    outcome = marl("train", "resume=run", "steps=40", "trust=true")
    assert outcome.code == 0, outcome
    assert "run goes on with other code than it began with, of: policy" in outcome.err
    assert summary_of(tmp_path / "run")["code"] != before
    assert set(before) == {"policy"}
