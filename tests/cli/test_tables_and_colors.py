"""Random instances, tables from a file and colorings, trained from the command line."""

import shlex
from pathlib import Path

import pytest

from marl.envs import random_local_mdp
from tests.cli.command import Marl, assert_refused, contents, summary_of

RUN = ("steps=200", "eval.steps=40", "logger=none", "hydra.run.dir=run")

TRAINED = [
    "env=coloring policy=state_independent",
    "env=coloring env.graph=king:2x3 env.colors=5 policy=softmax critic.kappa=1",
    "env=random_local_mdp",
    "env=random_local_mdp env.graph=geometric:6:0.8:1 env.private_actions=false env.reward_low=-1 critic=neural",
    "env=random_local_mdp env.graph=line:3 env.num_states=[2,3,1] policy=random_table policy.distribution=dirichlet",
    "env=local_mdp env.path=tables.npz critic.kappa=1",
]


@pytest.mark.parametrize("overrides", TRAINED)
def test_trains(marl: Marl, tmp_path: Path, overrides: str) -> None:
    random_local_mdp("ring:3").save(tmp_path / "tables.npz")
    outcome = marl("train", *shlex.split(overrides), *RUN)
    assert outcome.code == 0, outcome
    summary = summary_of(tmp_path / "run")
    assert (summary["status"], summary["steps"]) == ("finished", 200)
    assert -1.0 <= summary["eval_average_reward"][0] <= 1.0


def test_a_path_colors_itself(marl: Marl, tmp_path: Path) -> None:
    """A line of three with three colors learns a proper coloring: J rises from (2/3 + 4/9 + 2/3)/3 = 0.59 to nearly 1."""
    overrides = ("env=coloring", "env.graph=line:3", "policy=state_independent", "steps=3000", "eval.steps=400")
    assert marl("train", *overrides, "logger=none", "hydra.run.dir=run").code == 0
    assert summary_of(tmp_path / "run")["eval_average_reward"][0] > 0.9


def test_other_tables_in_the_same_file_are_another_environment(marl: Marl, tmp_path: Path) -> None:
    run = ("env=local_mdp", "env.path=tables.npz", *RUN)
    random_local_mdp("ring:3").save(tmp_path / "tables.npz")
    assert marl("train", *run).code == 0
    random_local_mdp("ring:3", instance_seed=1).save(tmp_path / "tables.npz")
    assert_refused(marl("train", *run), "another environment", "file")
    assert_refused(marl("evaluate", "run", "eval.steps=40"), "another environment", "file")


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        ("env=local_mdp", ("path",)),
        ("env=local_mdp env.path=none.npz", ("env.path=none.npz", "No such file")),
        ("env=local_mdp env.path=text.npz", ("env.path=text.npz", "no .npz file")),
        ("env=coloring env.graph=torus:3x3", ("env.graph='torus:3x3'", "line:N")),
        ("env=coloring env.graph=line:ten", ("env.graph='line:ten'", "line:N")),
        ("env=coloring env.graph=5", ("env.graph", "got 5")),
        ("env=coloring env.colors=0", ("env.colors", "got 0")),
        ("env=coloring policy=aloha", ("Aloha is a rule for WirelessAccess", "Coloring")),
        ("env=coloring policy=random_table policy.distribution=flat", ("policy.distribution", "dirichlet", "'flat'")),
        ("env=random_local_mdp env.num_states=[2,2]", ("env.num_states", "10", "got 2")),
        ("env=random_local_mdp env.graph=grid:9x9 env.num_states=99", ("entries", "134217728")),
        ("env=random_local_mdp env.reward_high=nan", ("env.reward_high", "nan")),
    ],
)
def test_refused(marl: Marl, tmp_path: Path, overrides: str, fragments: tuple[str, ...]) -> None:
    (tmp_path / "text.npz").write_text("0 1\n")
    before = contents(tmp_path)
    assert_refused(marl("train", *shlex.split(overrides), *RUN), *fragments)
    assert contents(tmp_path) == before
