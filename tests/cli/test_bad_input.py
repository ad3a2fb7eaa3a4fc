"""Wrong requests: one sentence that names what is wrong, exit code 2, and nothing left behind."""

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.command import SMALL, Marl, assert_refused, contents

FILES = {
    "not.json": "{bad",
    "no_point.json": json.dumps([[0], []]),
    "twice.json": json.dumps([[0], [1, 1]]),
    "a_file": "in the way",
}

REQUESTS = [  # (added to a good request, what the message must say)
    ("foo=1", ["'foo'"]),
    ("env.foo=1", ["'env.foo'"]),
    ("+bar=2", ["no key", "bar"]),
    ("+eval.foo=1", ["eval.foo"]),
    ("+env.foo=1", ["env", "'foo'"]),
    ("env=nosuch", ["env/nosuch", "wireless"]),
    ("critic=nosuch", ["critic/nosuch", "neural, pairwise"]),
    ("logger=nosuch", ["logger/nosuch", "none, tensorboard"]),
    ("critic.kappa=-1", ["kappa", "-1"]),
    ("critic.kappa=0.5", ["kappa", "0.5"]),
    ("env.arrival=1.5", ["env.arrival", "1.5"]),
    ("env.arrival=nan", ["env.arrival", "nan"]),
    ("env.arrival=[0.1,0.2]", ["env.arrival", "6", "got 2"]),
    ("env.success=-0.1", ["env.success", "-0.1"]),
    ("env.incidence=missing.json", ["env.incidence", "missing.json"]),
    ("env.incidence=not.json", ["env.incidence", "not.json"]),
    ("env.incidence=no_point.json", ["user 1", "no access point"]),
    ("env.incidence=twice.json", ["env.incidence[1]", "twice"]),
    ("env.incidence=[[0],[]]", ["user 1", "no access point"]),
    ("env.incidence=[[0],[1,1]]", ["env.incidence[1]", "twice"]),
    ("env.rows=abc", ["env.rows", "'abc'"]),
    ("replicas=0", ["replicas", "0"]),
    ("steps=0", ["steps", "got 0"]),
    ("steps=abc", ["steps", "'abc'"]),
    ("steps=0.5", ["steps", "0.5"]),
    ("seed=-1", ["seed", "-1"]),
    ("dtype=float16", ["dtype", "float16", "float32"]),
    ("threads=0", ["threads", "got 0"]),
    ("force=3", ["force", "3"]),
    ("eval.steps=5", ["eval.steps", "5", "20"]),
    ("eval=3", ["eval", "3"]),
    ("checkpoint=3", ["checkpoint", "3"]),
    ("checkpoint.every=0", ["checkpoint.every", "got 0"]),
    ("log_every=500", ["log_every=500", "steps=40"]),
    ("actor_scheduler.value=-1", ["actor_scheduler", "-1"]),
    ("critic_scheduler=power_law critic_scheduler.scale=-2", ["critic_scheduler", "scale", "-2"]),
    ("env.rows=5 env.cols=5 critic.kappa=1 critic.storage=dense", ["dense", "kappa=1", "entries", "bytes"]),
    ("critic=neural trainer.rescale=true", ["trainer.rescale=true", "NeuralCritic"]),
    ("trainer.engine=fused critic=neural", ["trainer.engine=fused", "NeuralCritic has no compiled form"]),
    ("trainer.engine=nonsense", ["trainer.engine", "'nonsense'", "autograd"]),
    ("trainer.critic_optimizer=3", ["optimizer", "got 3"]),
    ("policy._target_=nosuch.Policy", ["policy._target_", "nosuch.Policy"]),
    ("policy._target_=marl.policies.NoSuch", ["policy._target_", "NoSuch"]),
    ("logger._target_=nosuch.Logger", ["logger._target_", "nosuch.Logger"]),
    ("logger.per_agent=3", ["logger.per_agent", "3"]),
    ("env.rows=[1", ["env.rows=[1"]),
    ("env.rows=2=3", ["env.rows=2=3"]),
    ("env.rows", ["env.rows"]),
    ("=3", ["=3"]),
    ("env=null", ["env"]),
    ("hydra/launcher=nosuch", ["hydra/launcher/nosuch", "basic"]),
    ("callback=nosuch", ["callback/nosuch", "exact, none"]),
    ("checkpoint.every=abc", ["checkpoint.every", "'abc'"]),
    ("log_every=0", ["log_every", "got 0"]),
    ("replicas=1000000000000", ["replicas=1000000000000", "too many to hold"]),
    ("critic.dummy=99", ["critic.dummy", "got 99"]),
    ("critic.storage=file", ["critic.storage", "'file'", "auto, dense, hash"]),
    ("env.deadline=0", ["env.deadline", "got 0"]),
    ("trainer.discount=2", ["trainer.discount", "got 2"]),
    ("resume=nowhere", ["resume=nowhere", "is missing"]),
    ("--nonsense", ["--nonsense"]),
    ("--cfg nonsense", ["nonsense"]),
    ("--config-dir nowhere", ["nowhere"]),
    ("hydra.run.dir=a_file", ["a_file"]),
    ("hydra.run.dir=a_file/deeper/run", ["a_file/deeper/run"]),
    ("hydra.run.dir=/proc/nothing/here", ["/proc/nothing"]),
]


@pytest.mark.parametrize(("request_text", "fragments"), REQUESTS, ids=[text for text, _ in REQUESTS])
def test_refused(marl: Marl, tmp_path: Path, request_text: str, fragments: list[str]) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    outcome = marl("train", *SMALL, *shlex.split(request_text))
    assert_refused(outcome, *fragments)
    assert contents(tmp_path) == before


def test_the_request_that_the_others_spoil_is_a_good_one(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *SMALL).code == 0
    assert (tmp_path / "outputs").is_dir()


def test_a_dense_table_that_does_not_fit_states_its_size(marl: Marl) -> None:
    """4 inner users see 9 agents of 15 pairs at most; written out: 1.54e11 entries of 8 bytes."""
    error = marl("train", "critic.kappa=1", "critic.storage=dense").err
    assert "1.54e+11 entries" in error
    assert "1.23e+12 bytes" in error


@pytest.mark.parametrize(("where", "run"), [("mine/deeper", "."), (".", "mine/deeper"), (".", "mine/deeper/run")])
def test_empty_directories_of_the_user_stay(
    marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, run: str
) -> None:
    (tmp_path / "mine" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / where)
    assert_refused(marl("train", *SMALL, f"hydra.run.dir={run}", "steps=0"), "steps")
    assert list(contents(tmp_path)) == ["mine", "mine/deeper"]


def test_unknown_command(marl: Marl, tmp_path: Path) -> None:
    assert_refused(marl("fly"), "'fly'", "train, evaluate")
    assert contents(tmp_path) == {}


def test_the_traceback_is_there_for_who_asks(marl: Marl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARL_DEBUG", "1")
    with pytest.raises(ValueError, match="steps must be"):
        marl("train", *SMALL, "steps=0")
