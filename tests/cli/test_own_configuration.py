"""Yaml files of one's own: before the library's, as whole configurations, in sweeps; what cannot be read is explained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from marl.cli.help import conf_dir
from marl.cli.train import _run_name
from tests.cli.command import SMALL, Marl, assert_refused, summary_of

QUICK = ("env.rows=2", "env.cols=2", "eval.steps=0", "logger=none")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """An environment and a critic that are called as the library's are, and a configuration."""
    folder = tmp_path / "it's, mine"
    for name, text in {
        "env/wireless.yaml": "_target_: marl.envs.WirelessAccess\nrows: 2\ncols: 3\n",
        "critic/tabular.yaml": "_target_: marl.critics.TabularCritic\nkappa: 0\n",
        "mine.yaml": "defaults: [train, _self_]\nsteps: 30\n",
        "short.yaml": "steps: 30\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    whole = (conf_dir() / "train.yaml").read_text().partition("hydra:\n")[0]
    (folder / "whole.yaml").write_text(whole.replace("  - override hydra/job_logging: marl\n", ""))
    return folder


@pytest.mark.parametrize("option", ["--config-dir", "-cd", "--config-path"])
def test_ones_own_files_win(marl: Marl, conf: Path, option: str) -> None:
    outcome = marl("train", f"{option}={conf.name}", "env=wireless", "--cfg", "job")
    assert outcome.code == 0, outcome
    composed = yaml.safe_load(outcome.out)
    assert composed["env"] == {"_target_": "marl.envs.WirelessAccess", "rows": 2, "cols": 3}
    assert composed["critic"]["kappa"] == 0
    assert yaml.safe_load(marl("train", "--cfg", "job").out)["env"]["rows"] == 5  # not from now on


def test_the_later_directory_wins(marl: Marl, conf: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "env").mkdir(parents=True)
    (tmp_path / "other" / "env" / "wireless.yaml").write_text("_target_: marl.envs.WirelessAccess\nrows: 4\n")
    outcome = marl("train", "--config-dir", conf.name, "--config-dir", "other", "--cfg", "job")
    composed = yaml.safe_load(outcome.out)
    assert (composed["env"]["rows"], composed["critic"]["kappa"]) == (4, 0)


def test_ones_own_files_win_in_certificates(marl: Marl, conf: Path) -> None:
    outcome = marl("certify", "--config-dir", conf.name, "+env.arrival=0.1", "+env.deadline=1", "samples=1", "horizon=1")
    assert outcome.out.startswith("WirelessAccess, 6 agents")


@pytest.mark.parametrize("name", ["mine", "whole"])
def test_a_sweep_of_ones_own_configuration(marl: Marl, conf: Path, tmp_path: Path, name: str) -> None:
    """Based on train.yaml or not; a job that fails is counted."""
    options = ("-m", "--config-name", name, "--config-dir", conf.name)
    outcome = marl("train", *options, *QUICK, "steps=30", "critic.kappa=1,-1")
    assert outcome.code == 2, outcome
    assert "2 jobs: 1 finished, 1 not" in outcome.err
    (run,) = (path.parent for path in tmp_path.rglob("summary.json"))
    assert summary_of(run)["steps"] == 30
    assert list(tmp_path.rglob(".jobs")) == []
    assert (name == "mine") == str(run).startswith(str(tmp_path / "outputs" / "mine,"))


def test_a_configuration_without_parts_is_explained(marl: Marl, conf: Path) -> None:
    options = ("--config-name", "short", "--config-dir", conf.name)
    assert_refused(marl("train", *options), "lacks 'env'", "begins with defaults: [train, _self_]")
    assert "lacks 'env'" in marl("train", "-m", *options).err


def test_a_configuration_that_is_not_found_is_explained(marl: Marl) -> None:
    assert_refused(marl("train", "-m", "--config-name", "mine"), "no configuration 'mine'", "--config-dir DIR")


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("train", "env.graph=zürich.txt"), ("ü", r"env.graph=\'zürich.txt\'")),
        (("train", "-m", "hydra.sweep.dir=東京"), ("東 京", r"hydra.sweep.dir=\'東京\'")),
        (("certify", "env.graph=zürich.txt"), ("needs quotes",)),
        (("train", "\u2013m", "seed=0"), ("written in ASCII", "\u2013 is not")),
        (("train", "schritte_für=3"), ("written in ASCII", "ü is not")),
    ],
)
def test_characters_beyond_ascii_are_explained(marl: Marl, words: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    assert_refused(marl(*words), "cannot read", *fragments)


def test_names_are_shortened_by_bytes() -> None:
    names = [_run_name([f"env.path={'ü' * 150}{last}"], 0).partition("/")[0] for last in "ab"]
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= 200 for name in names)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Where a run is started, with a graph and the access points of an environment; `elsewhere` is beside it."""
    (tmp_path / "start").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "start" / "net.txt").write_text("a b\nb c\n")
    (tmp_path / "start" / "reach.json").write_text(json.dumps([[0], [0, 1]]), encoding="utf-8-sig")
    return tmp_path / "start"


COLORING = ("env=coloring", "env.graph=net.txt", "steps=20", "eval.steps=0", "logger=none")


def test_files_are_found_from_where_a_run_was_started(marl: Marl, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By jobs that stand in their own directories, and by whoever evaluates the run or goes on with it from elsewhere."""
    monkeypatch.chdir(project)
    outcome = marl("train", "-m", *COLORING, "critic.kappa=0,-1", "hydra.job.chdir=true")
    assert outcome.code == 2, outcome
    assert "2 jobs: 1 finished, 1 not" in outcome.err
    for words in (COLORING, ("env.incidence=reach.json", *COLORING[2:])):
        assert marl("train", *words, "hydra.job.chdir=true", f"hydra.run.dir=run{words[0][4]}").code == 0
    for place, steps in (("elsewhere", 30), (".", 40)):
        monkeypatch.chdir(project.parent / place)
        run = os.path.relpath(project / "runc")
        assert marl("evaluate", run, "eval.steps=20").code == 0
        outcome = marl("train", f"resume={run}", f"steps={steps}")
        assert outcome.code == 0, outcome
    assert marl("certify", run, "samples=1", "horizon=1").code == 0
    assert marl("evaluate", os.path.relpath(project / "runi"), "eval.steps=20").code == 0


def test_a_project_that_was_moved_is_found_from_here(marl: Marl, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert marl("train", *COLORING, "hydra.run.dir=run").code == 0
    monkeypatch.chdir(project.rename(project.with_name("moved")))
    assert marl("evaluate", "run", "eval.steps=20").code == 0


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    """Python without its UTF-8 mode in the locale C, where text would be ASCII: a graph, a log and a run of such names."""
    (tmp_path / "zürich.txt").write_text("Höngg Wiedikon 2.5\nWiedikon Örlikon\n", encoding="utf-8")
    command = [sys.executable, "-m", "marl", "train", *COLORING, "env.graph='zürich.txt'", "hydra.run.dir='Läufe'"]
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"L\udcc3\udca4ufe" in done.stdout
    assert b"Error" not in done.stderr
    assert summary_of(tmp_path / "Läufe")["status"] == "finished"


def test_small_runs_are_named_as_before() -> None:
    assert _run_name([*SMALL, "seed=3"], 3) == "env.rows=2,env.cols=3,steps=40,eval.steps=0/seed=3"
