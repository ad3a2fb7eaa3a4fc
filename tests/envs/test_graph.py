"""Graphs by name: each name gives its graph, and whatever is no name and no file is refused in one sentence."""

import os
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from marl.core.errors import ConfigError, NetworkError
from marl.core.network import Network
from marl.envs import graph

NAMED = [
    ("line:1", Network.line(1)),
    ("line:10", Network.line(10)),
    ("ring:8", Network.ring(8)),
    ("grid:2x6", Network.grid(2, 6)),
    ("king:5x4", Network.king(5, 4)),
    ("geometric:50:0.2", Network.random_geometric(50, 0.2, seed=0)),
    ("geometric:50:0.2:7", Network.random_geometric(50, 0.2, seed=7)),
    ("geometric: 50: 2e-1: 7", Network.random_geometric(50, 0.2, seed=7)),
    ("geometric:5:1", Network.random_geometric(5, 1.0)),
    ("karate", Network.named("karate")),
]


@pytest.mark.parametrize(("spec", "meant"), NAMED, ids=[spec for spec, _ in NAMED])
def test_names(spec: str, meant: Network) -> None:
    found = graph(spec)
    assert found.n == meant.n
    assert np.array_equal(found.edges, meant.edges)


def test_the_names_mean_different_graphs() -> None:
    kinds = {(network.n, network.edges.tobytes()) for _, network in NAMED}
    assert len(kinds) == len(NAMED) - 1  # two spellings of one


def test_a_network_is_itself() -> None:
    network = Network.from_edges(3, [(0, 2)])
    assert graph(network) is network


@pytest.mark.parametrize("name", ["pairs.txt", "torus:3x3", "line"])
def test_any_other_text_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("0 1\n1 2\n")
    assert graph(name).edges.tolist() == [[0, 1], [1, 2]]
    assert graph(Path(name)).edges.tolist() == [[0, 1], [1, 2]]


def test_a_name_stands_for_its_graph_whatever_lies_in_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("karate").write_text("0 1\n1 2\n")
    assert graph("karate").n == 34
    assert graph("./karate").n == graph(Path("karate")).n == graph(str(tmp_path / "karate")).n == 3


def test_a_file_must_be_connected(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("0 1\n2 3\n")
    with pytest.raises(NetworkError, match=r"graph file .*two.txt is not connected: it falls into 2 parts"):
        graph(str(tmp_path / "two.txt"))
    assert graph(str(tmp_path / "two.txt"), connected=False).num_components() == 2


REFUSED = [
    ("line:0", "env.graph='line:0': n must be a whole number of at least 1, got 0"),
    ("ring:2", "env.graph='ring:2': n must be a whole number of at least 3, got 2"),
    ("grid:0x3", "env.graph='grid:0x3': rows must be a whole number of at least 1, got 0"),
    ("geometric:9:-1", "env.graph='geometric:9:-1': radius must be"),
    ("geometric:9:0", "env.graph='geometric:9:0': radius must be positive"),
    ("geometric:9:nan", "env.graph='geometric:9:nan': radius must be"),
    ("line:ten", "env.graph='line:ten' cannot be read; write line:N,"),
    ("line:", "env.graph='line:' cannot be read; write line:N,"),
    ("line:-3", "env.graph='line:-3' cannot be read; write line:N,"),
    ("line:1.5", "env.graph='line:1.5' cannot be read; write line:N,"),
    ("line:2x3", "env.graph='line:2x3' cannot be read; write line:N,"),
    ("grid:2", "env.graph='grid:2' cannot be read; write grid:ROWSxCOLS,"),
    ("king:2,3", "env.graph='king:2,3' cannot be read; write king:ROWSxCOLS,"),
    ("geometric:50", "env.graph='geometric:50' cannot be read; write geometric:N:RADIUS[:SEED],"),
    ("geometric:50:far", "env.graph='geometric:50:far' cannot be read; write geometric:N:RADIUS[:SEED],"),
    ("geometric:50:0.2:0.5", "env.graph='geometric:50:0.2:0.5' cannot be read; write geometric:N:RADIUS[:SEED],"),
    ("line:1" + "0" * 5000, "cannot be read; write line:N,"),
    ("line:100000000", "env.graph='line:100000000' has 1e+08 agents; at most 16777216"),
    ("grid:99999x99999", "env.graph='grid:99999x99999' has 1e+10 agents; at most 16777216"),
    ("torus:3x3", "env.graph='torus:3x3' is no file; it must be one of line:N, ring:N, grid:ROWSxCOLS, king:ROWSxCOLS,"),
    ("line", "env.graph='line' is no file (did you mean line:N?); it must be one of line:N"),
    ("", "env.graph='' is no file; it must be one of line:N"),
    ("karat", "env.graph='karat' is no file (did you mean karate?); it must be one of line:N"),
    ("Davis", "env.graph='Davis' is no file (did you mean davis?); it must be one of line:N"),
    ("none.txt", "a name that `marl graphs` lists (karate, germany50, case118, ...), or the path of a graph file"),
    ("a" * 5000, "is no file; it must be one of line:N"),
    ("a\0b", "is no file; it must be one of line:N"),
    (5, "env.graph must be one of line:N, ring:N,"),
    (None, "env.graph must be one of line:N, ring:N,"),
    ([[0, 1]], "env.graph must be one of line:N, ring:N,"),
]


@pytest.mark.parametrize(("spec", "words"), REFUSED, ids=[repr(spec)[:30] for spec, _ in REFUSED])
def test_refusals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: object, words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # what a user sees who gives a wrong type
    monkeypatch.chdir(tmp_path)
    assert os.listdir() == []
    with pytest.raises(ConfigError) as raised:
        graph(spec)  # type: ignore[arg-type]
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
