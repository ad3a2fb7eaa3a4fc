"""Graph files of a user's own environment: a malformed one is refused with the file and the fault."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.command import Marl, assert_refused, contents

PROJECT = Path(__file__).parents[2] / "examples" / "my_project"
TRAIN = ("train", "--config-dir", "conf", "env=flu", "steps=40", "eval.steps=0", "logger=none")

GRAPHS = [  # (file, text, what the message must say)
    ("two_parts.txt", "0 1\n2 3\n", ["not connected", "2 parts"]),
    ("two_parts.json", json.dumps({"n": 3, "edges": [[0, 1]]}), ["not connected", "2 parts"]),
    ("loop.txt", "0 1\n1 1\n", ["node 1", "itself"]),
    ("loop.json", json.dumps({"n": 2, "edges": [[0, 1], [0, 0]]}), ["node 0", "itself"]),
    ("words.txt", "0 1\n1 2 x\n", ["line 2", "3 words"]),
    ("far.json", json.dumps({"n": 2, "edges": [[0, 5]]}), ["node 5", "0 to 1"]),
    ("keys.json", json.dumps({"edges": [[0, 1]]}), ["expected"]),
    ("not.json", "{bad", ["cannot be read"]),
    ("not.graphml", "<graphml", ["cannot be read"]),
    ("empty.txt", "", ["nodes"]),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example, which is the working directory of the command."""
    shutil.copytree(PROJECT, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "outputs"))
    return tmp_path


@pytest.mark.parametrize(("name", "text", "fragments"), GRAPHS, ids=[name for name, *_ in GRAPHS])
def test_a_malformed_graph(marl: Marl, project: Path, name: str, text: str, fragments: list[str]) -> None:
    (project / name).write_text(text)
    before = contents(project)
    assert_refused(marl(*TRAIN, f"env.graph={name}"), f"graph file {name}", *fragments)
    assert contents(project) == before


def test_a_graph_that_is_not_there(marl: Marl, project: Path) -> None:
    before = contents(project)
    assert_refused(marl(*TRAIN, "env.graph=none.txt"), "env.graph='none.txt' is no file")
    assert contents(project) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [("triangle.txt", "a b\nb c # last\nc a\n"), ("pair.json", json.dumps({"n": 2, "edges": [[1, 0]]}))],
)
def test_a_good_graph_is_trained_on(marl: Marl, project: Path, name: str, text: str) -> None:
    (project / name).write_text(text)
    assert marl(*TRAIN, f"env.graph={name}").code == 0


def test_the_users_own_argument_checks_reach_the_user(marl: Marl, project: Path) -> None:
    assert_refused(marl(*TRAIN, "env.infection=[0.1,0.2]"), "env.infection needs 12 values, one for each agent, got 2")
