"""Wrong requests: one sentence that names what is wrong, exit code 2, and nothing left behind."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from marl.runs import checkpoint
from tests.cli.command import SMALL, Bomb, Marl, assert_refused, command_in, contents

GRAPH = ("env=coloring", "steps=40", "eval.steps=0")
"""What a request that names a graph is added to, in place of `SMALL`."""
FILES = {
    "not.json": "{bad",
    "no_point.json": json.dumps([[0], []]),
    "twice.json": json.dumps([[0], [1, 1]]),
    "a_file": "in the way",
    "two_parts.txt": "0 1\n2 3\n",
    "words.txt": "0 1\n1 2 x\n",
    "loop.json": json.dumps({"n": 2, "edges": [[0, 1], [0, 0]]}),
    "far.json": json.dumps({"n": 2, "edges": [[0, 5]]}),
    "keys.json": json.dumps({"edges": [[0, 1]]}),
}

REQUESTS = [  # (added to a good request, what the message must say)
    ("foo=1", ["'foo'"]),
    ("env.foo=1", ["'env.foo'"]),
    ("+bar=2", ["no key", "bar"]),
    ("+eval.foo=1", ["eval.foo"]),
    ("+env.foo=1", ["env", "'foo'"]),
    ("env=nosuch", ["env/nosuch", "wireless"]),
    ("critic=nosuch", ["critic/nosuch", "neural_state_value, pairwise"]),
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
    ("critic=neural trainer.rescale=true", ["trainer.rescale=true", "NeuralCritic is none"]),
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
    ("env.graph=none.txt", ["none.txt"]),
    ("env.graph=not.json", ["graph file not.json", "cannot be read"]),
    ("env.graph=two_parts.txt", ["graph file two_parts.txt", "not connected", "2 parts"]),
    ("env.graph=words.txt", ["graph file words.txt", "line 2", "3 words"]),
    ("env.graph=loop.json", ["graph file loop.json", "node 0", "itself"]),
    ("env.graph=far.json", ["graph file far.json", "node 5", "0 to 1"]),
    ("env.graph=keys.json", ["graph file keys.json", "expected"]),
    ("env.graph=line:abc", ["line:abc"]),
    ("env.graph=moebius:5", ["moebius:5"]),
    ("resume=a_file", ["resume=a_file", "directory of a run"]),
    ("resume=with_code", ["checkpoint.pt", "damaged or not one of ours"]),
    ("resume=in_words", ["checkpoint.pt", "damaged or not one of ours"]),
    ("resume=cut_off", ["checkpoint.pt", "damaged or not one of ours"]),
    ("resume=other_seed", ["checkpoint.pt", "seed is"]),
    ("resume=no_checkpoint", ["checkpoint.pt"]),
    ("resume=future", ["checkpoint.pt", "format 99"]),
    ("resume=sound steps=20", ["a finished run of 40 steps, not 20"]),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of 40 steps, all but one with a checkpoint that is not what it should be."""
    directory = tmp_path_factory.mktemp("runs")
    with command_in(directory) as marl:
        for name, seed in (("sound", 0), ("other_seed", 1)):
            assert marl("train", *SMALL, f"seed={seed}", "logger=none", f"hydra.run.dir={name}").code == 0
    sound = directory / "sound"
    for name in ("with_code", "in_words", "cut_off", "no_checkpoint", "future"):
        shutil.copytree(sound, directory / name)
    whole = (sound / "checkpoint.pt").read_bytes()
    (directory / "other_seed" / "checkpoint.pt").write_bytes(whole)
    (directory / "in_words" / "checkpoint.pt").write_text("hello")
    (directory / "cut_off" / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    (directory / "no_checkpoint" / "checkpoint.pt").unlink()
    spoiled = {"format": checkpoint.FORMAT, "config": "{}", "state": Bomb()}
    torch.save(spoiled, directory / "with_code" / "checkpoint.pt")
    torch.save({**torch.load(sound / "checkpoint.pt", weights_only=True), "format": 99}, directory / "future/checkpoint.pt")
    return directory


@pytest.mark.parametrize(("request_text", "fragments"), REQUESTS, ids=[text for text, _ in REQUESTS])
def test_refused(marl: Marl, tmp_path: Path, runs: Path, request_text: str, fragments: list[str]) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    overrides = shlex.split(request_text)
    if request_text.startswith("resume="):
        shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
        good = ["steps=80"]
    else:
        good = list(GRAPH if request_text.startswith("env.graph=") else SMALL)
    before = contents(tmp_path)
    outcome = marl("train", *good, *overrides)
    assert_refused(outcome, *fragments)
    assert contents(tmp_path) == before  # a pickle with code has made no directory either


def test_the_request_that_the_others_spoil_is_a_good_one(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *SMALL).code == 0
    assert marl("train", *GRAPH).code == 0
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
