"""`marl graphs`: the table, one graph, and what is refused; a table needs no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marl.graphs import named
from tests.cli.command import Marl, assert_refused
from tests.graphs import stand_ins

REPOSITORY = Path(__file__).parents[2]


def test_the_table(marl: Marl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_ins.absent(monkeypatch)
    outcome = marl("graphs")
    assert (outcome.code, outcome.err) == (0, "")
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert lines[:5] == [
        "name source n edges mean degree largest degree diameter",
        "karate networkx 34 78 4.59 17 5",
        "florentine networkx 15 20 2.67 6 5",
        "les_miserables networkx 77 254 6.60 36 5",
        "davis networkx 32 89 5.56 14 4",
    ]
    install = "which is not installed: pip install 'networked-marl[graphs]'"
    for package in ("topohub", "pypower", "libpysal"):
        assert outcome.out.count(f"come with {package}, {install}\n") == 1
    for word in (*named.NAMES, "line:N", "grid:ROWSxCOLS", "geometric:N:RADIUS[:SEED]"):
        assert word in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 120
    assert list(tmp_path.iterdir()) == []


def test_packages_that_are_there(marl: Marl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A graph that a version of a package has not is told apart from those it has."""
    stand_ins.installed(monkeypatch, tmp_path)
    out = marl("graphs").out
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "germany50 topohub 3 2 1.33 2 2" in rows
    assert "case14 pypower 3 2 1.33 2 2" in rows
    assert "us_states libpysal 3 2 1.33 2 2" in rows
    assert "come with topohub, which is installed in a version without it: pip install -U" in out
    assert "come with libpysal" not in out


def test_the_table_needs_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['marl', 'graphs']; from marl.cli import main; assert main() == 0; "
        "print([name for name in ('torch', 'hydra', 'numba') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_one_graph_by_name(marl: Marl) -> None:
    outcome = marl("graphs", "karate")
    assert (outcome.code, outcome.err) == (0, "")
    lines = [line.split() for line in outcome.out.splitlines()]
    assert outcome.out.startswith("karate, from networkx\n")
    for line in ("nodes 34", "edges 78", "components 1", "mean degree 4.59", "diameter 5", "positions none"):
        assert line.split() in lines
    assert [line for line in lines if line[:1] in (["1"], ["17"])] == [["1", "1"], ["17", "1"]]


def test_a_file_in_parts(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "parts.txt").write_text("d e\na b\nb c\n")
    outcome = marl("graphs", "parts.txt")
    assert outcome.code == 0
    for line in ("components  2, of 3, 2 nodes", "diameter    2 (of the largest component)", "labels      d, e, a, b, c"):
        assert line in outcome.out
    (tmp_path / "nodes.json").write_text(json.dumps({"n": 2, "edges": []}))
    assert "labels      none" in marl("graphs", "nodes.json").out


def test_a_form_and_many_degrees(marl: Marl, tmp_path: Path) -> None:
    assert "edges       40\n" in marl("graphs", "grid:5x5").out
    (tmp_path / "pyramid.txt").write_text("".join(f"{i} {j}\n" for i in range(40) for j in range(i + 1, 40 - i)))
    out = marl("graphs", "pyramid.txt").out
    assert [line.split()[0] for line in out.partition("degree   nodes\n")[2].splitlines()][:2] == ["1-1", "2-3"]


def test_a_file_called_like_a_graph(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "karate").write_text("a b\n")
    assert "nodes       34\n" in marl("graphs", "karate").out
    assert "nodes       2\n" in marl("graphs", "./karate").out


def test_refusals(marl: Marl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_ins.absent(monkeypatch)
    (tmp_path / "loop.txt").write_text("0 1\n1 1\n")
    assert_refused(marl("graphs", "karat"), "env.graph='karat' is no file (did you mean karate?); it must be one of line:N")
    assert_refused(marl("graphs", "karate", "davis"), "marl graphs takes [NAME|FILE], got 'karate', 'davis'")
    assert_refused(marl("graphs", "germany50"), "topohub, which is not installed: pip install 'networked-marl[graphs]'")
    assert_refused(marl("graphs", "loop.txt"), "graph file loop.txt", "node 1 has an edge to itself")
    assert_refused(marl("graphs", "--all"), "there is no option '--all'")


def test_a_run_on_a_graph_by_name(marl: Marl, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins.absent(monkeypatch)
    settings = ("train", "env=coloring", "steps=5", "eval.steps=0", "logger=none")
    assert marl(*settings, "env.graph=florentine").code == 0
    assert_refused(
        marl(*settings, "env.graph=case14"), "env.graph: the graph 'case14' comes with the package pypower, which"
    )
    assert_refused(marl(*settings, "env.graph=case15"), "env.graph='case15' is no file (did you mean ")
