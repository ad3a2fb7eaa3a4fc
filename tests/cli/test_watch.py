"""`marl watch` of runs and of rules: where the file goes, what it is of, and what is refused before anything is written."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from marl import load_policy
from marl.runs import evaluate_run
from marl.watching import record
from tests.cli.command import SMALL, Marl, assert_refused, command_in, contents

RULE = ("env.rows=2", "env.cols=2", "policy=aloha", "steps=5")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("watch")
    with command_in(directory) as command:
        outcome = command("train", *SMALL, "replicas=2", "seed=7", "logger=none", "hydra.run.dir=run")
        assert outcome.code == 0, outcome
    return directory / "run"


def film(page: Path) -> dict[str, object]:
    """The numbers and words of a page."""
    found = re.search(r'<script type="application/json" id="film">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return dict(json.loads(found[1]))


@pytest.mark.parametrize("replica", [0, 1])
def test_a_run_is_watched_as_it_is_evaluated(marl: Marl, run: Path, replica: int) -> None:
    outcome = marl("watch", str(run), "steps=40", "seed=7", f"replica={replica}")
    assert (outcome.code, outcome.err) == (0, "")
    average = evaluate_run(run, 40, 0).average_reward[replica].item()
    assert outcome.out == (
        f"WirelessAccess, 6 agents; TabularSoftmax policy; the policy of {run} (replica {replica}); "
        f"average reward of 40 steps {average:.5f}\nwritten: {run}/watch.html\n"
    )
    policy = load_policy(run)
    recording = record(policy.env, policy, steps=40, seed=7, replica=replica)
    shown = film(run / "watch.html")
    np.testing.assert_allclose(shown["averages"], np.cumsum(recording.r.mean(axis=1)) / np.arange(1, 41))
    (run / "watch.html").unlink()


def test_a_rule_is_watched_without_a_run(marl: Marl, tmp_path: Path) -> None:
    outcome = marl("watch", *RULE)
    assert outcome.code == 0, outcome
    assert list(contents(tmp_path)) == ["watch.html"]
    shown = film(tmp_path / "watch.html")
    assert shown["agents"] == [f"agent {i}" for i in range(4)]
    assert shown["steps"] == 5
    assert "WirelessAccess, 4 agents; Aloha policy; env.rows=2 env.cols=2 policy=aloha" in outcome.out
    assert marl("watch", *RULE, "out=deep/er/page.html").code == 0
    assert film(tmp_path / "deep" / "er" / "page.html") | {"figures": 0} == shown | {"figures": 0}  # but for bokeh's ids
    assert marl("watch", *RULE, "seed=1", "out=deep/er/page.html").code == 0
    assert film(tmp_path / "deep" / "er" / "page.html")["s"] != shown["s"]


def test_a_moving_picture(marl: Marl, tmp_path: Path) -> None:
    outcome = marl("watch", *RULE, "out=movie.gif")
    assert outcome.code == 0, outcome
    assert outcome.out.endswith("written: movie.gif\n")
    assert Image.open(io.BytesIO((tmp_path / "movie.gif").read_bytes())).n_frames == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["steps=0"], "steps must be a whole number of at least 1, got 0"),
        (["steps=2.5"], "steps must be a whole number of at least 1, got 2.5"),
        (["seed=-1"], "seed must be a whole number of at least 0, got -1"),
        (["replica=1"], "replica=1 does not exist: the policy has replicas 0 to 0"),
        (["out=movie.mp4"], "out must be a file that ends in .html or .gif, got 'movie.mp4'"),
        (["out=3"], "out must be a file that ends in .html or .gif, got 3"),
        (["out=a_file/page.html"], "out=a_file cannot be written to: "),
        (["nowhere"], "there is no checkpoint at nowhere/checkpoint.pt"),
        (["env=coloring", "env.graph=line:6000"], "6000 agents are too many to watch; at most 5000 can be shown"),
        (["steps=1e7"], "steps=10000000 of 25 agents are too many to watch; at most 83886 can be shown"),
        (["env=coloring", "policy=aloha"], "Aloha is a rule for WirelessAccess"),
        (["trust=true"], "trust=true is for a RUN_DIR"),
        (["--gif"], "there is no option '--gif'; marl watch --help shows what there is"),
        (["frames=3"], "frames"),
    ],
)
def test_what_cannot_be_watched_is_refused(marl: Marl, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "a_file").touch()
    before = contents(tmp_path)
    assert_refused(marl("watch", *words), said)
    assert contents(tmp_path) == before


def test_a_run_has_its_own_parts_and_replicas(marl: Marl, run: Path) -> None:
    before = contents(run)
    assert_refused(marl("watch", str(run), "replica=2"), "replica=2 does not exist: the policy has replicas 0 to 1")
    assert_refused(marl("watch", str(run), "policy=aloha"), "has its own environment and policy")
    assert contents(run) == before


@pytest.mark.parametrize(
    ("module", "out", "said"),
    [
        ("bokeh.resources", "watch.html", "a page needs bokeh: pip install networked-marl[watch]"),
        ("matplotlib", "watch.gif", "the picture needs matplotlib: pip install networked-marl[plots]"),
    ],
)
def test_what_is_not_installed_is_named(
    marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, out: str, said: str
) -> None:
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert_refused(marl("watch", *RULE, f"out={out}"), said)
    assert contents(tmp_path) == {}
