"""Graphs by name: as large as they are known to be, named as their source does, and refused in a sentence."""

import importlib.util
from pathlib import Path

import jaxtyping
import networkx as nx
import numpy as np
import pytest

from marl import ConfigError, Network, NetworkError
from marl.graphs import named
from tests.graphs import stand_ins

SIZES = {
    "networkx": {"karate": (34, 78), "florentine": (15, 20), "les_miserables": (77, 254), "davis": (32, 89)},
    "topohub": {
        **{"abilene": (12, 15), "atlanta": (15, 22), "brain": (161, 166), "cost266": (37, 57), "dfn-bwin": (10, 45)},
        **{"dfn-gwin": (11, 47), "di-yuan": (11, 42), "france": (25, 45), "geant": (22, 36), "germany50": (50, 88)},
        **{"giul39": (39, 86), "india35": (35, 80), "janos-us": (26, 42), "janos-us-ca": (39, 61), "newyork": (16, 49)},
        **{"nobel-eu": (28, 41), "nobel-germany": (17, 26), "nobel-us": (14, 21), "norway": (27, 51), "pdh": (11, 34)},
        **{"pioro40": (40, 89), "polska": (12, 18), "sun": (27, 51), "ta1": (24, 51), "ta2": (65, 108), "zib54": (54, 80)},
    },
    "pypower": {
        **{"case4gs": (4, 4), "case6ww": (6, 11), "case9": (9, 9), "case14": (14, 20), "case24_ieee_rts": (24, 34)},
        **{"case30": (30, 41), "case39": (39, 46), "case57": (57, 78), "case118": (118, 179), "case300": (300, 409)},
    },
    "libpysal": {"us_states": (48, 107), "nc_counties": (100, 231)},
}
"""Nodes and edges, after merging; of pypower 118 buses have 186 branches, 57 have 80, 300 have 411 and 24 have 38."""
KNOWN = [(package, name) for package in SIZES for name in SIZES[package]]


@pytest.mark.parametrize(("package", "name"), KNOWN)
def test_sizes(package: str, name: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    network = Network.named(name)
    assert (network.n, len(network.edges)) == SIZES[package][name]
    assert network.num_components() == 1
    assert network.labels is not None
    assert len({*network.labels}) == network.n
    assert (network.positions is not None) == (package == "topohub")


def test_every_name_is_tested() -> None:
    assert {name: package for package, name in KNOWN} == named.NAMES


def test_the_packages_are_those_of_the_extra() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("graphs = ")]
    assert [package for package in named.SOURCES if package != "networkx" and f'"{package}>=' not in line] == []


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_ins.installed(monkeypatch, tmp_path)


def of(network: Network) -> tuple[list[object], set[tuple[object, object]]]:
    """Names of the nodes, and the edges by names."""
    assert network.labels is not None
    return list(network.labels), {(network.labels[i], network.labels[j]) for i, j in network.edges.tolist()}


@pytest.mark.parametrize("name", ["germany50", "polska"])
def test_backbones_have_names_and_positions(small: None, name: str) -> None:
    """Of topohub nothing is imported; older versions call the edges links."""
    network = Network.named(name)
    assert of(network) == (["Köln", "Bonn", "Aachen"], {("Köln", "Bonn"), ("Köln", "Aachen")})
    assert network.positions is not None
    assert network.positions.tolist() == [[6.96, 50.94], [7.1, 50.73], [6.04, 50.76]]


def test_parallel_branches_are_one_and_those_switched_off_none(small: None) -> None:
    assert of(Network.named("case14")) == ([2, 7, 30], {(2, 30), (2, 7)})


def test_a_branch_to_itself_is_refused(small: None) -> None:
    with pytest.raises(NetworkError, match="node 7 has an edge to itself; remove self-loops"):
        Network.named("case9")


def test_areas(small: None) -> None:
    """States by name, counties by their codes in increasing order; of libpysal nothing is imported."""
    assert of(Network.named("us_states")) == (["Iowa", "New York", "Utah"], {("Iowa", "Utah"), ("New York", "Utah")})
    assert of(Network.named("nc_counties")) == ([37001, 37005, 37009], {(37001, 37009), (37005, 37009)})


@pytest.mark.skipif(importlib.util.find_spec("libpysal") is None, reason="libpysal is not installed")
def test_which_states_touch() -> None:
    """What anybody can look up on a map: the names belong to the numbers."""
    _, edges = of(Network.named("us_states"))
    of_florida = {state for edge in edges for state in edge if "Florida" in edge} - {"Florida"}
    of_maine = {state for edge in edges for state in edge if "Maine" in edge} - {"Maine"}
    assert (of_florida, of_maine) == ({"Alabama", "Georgia"}, {"New Hampshire"})


def test_networkx_numbers_stay() -> None:
    network = Network.named("karate")
    assert network.labels == list(range(34))
    expected = nx.karate_club_graph()
    assert {(i, j) for i, j in network.edges.tolist()} == {(min(e), max(e)) for e in expected.edges}


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NetworkError) as raised:
        Network.named("Germany")
    text = str(raised.value)
    assert text.startswith("there is no graph 'Germany' (did you mean germany50")
    assert "; there are, by package, networkx: karate, florentine, les_miserables, davis; topohub: abilene, " in text
    for name in named.NAMES:
        assert name in text
    assert "\n" not in text
    with pytest.raises(NetworkError, match="there is no graph 'zzz'; there are"):
        Network.named("zzz")


@pytest.mark.parametrize("name", [5, None, ["karate"], Path("karate")])
def test_a_name_is_a_text(monkeypatch: pytest.MonkeyPatch, name: object) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match="the name of a graph is a text, got "):
        Network.named(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "package"), [("germany50", "topohub"), ("case14", "pypower"), ("us_states", "libpysal")])
def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    stand_ins.absent(monkeypatch)
    with pytest.raises(NetworkError) as raised:
        Network.named(name)
    assert str(raised.value) == (
        f"the graph '{name}' comes with the package {package}, which is not installed: pip install 'networked-marl[graphs]'"
    )


@pytest.mark.parametrize(("name", "package"), [("abilene", "topohub"), ("case118", "pypower")])
def test_a_version_without_the_graph(small: None, name: str, package: str) -> None:
    words = rf"package {package}, which is installed in a version without it: pip install -U 'networked-marl\[graphs\]'"
    with pytest.raises(NetworkError, match=words):
        Network.named(name)


def test_a_folder_of_that_name_is_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Python takes any folder on its path for a package without code, such as one beside `python -m marl`."""
    stand_ins.installed(monkeypatch, tmp_path / "there")
    (tmp_path / "here" / "topohub").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "here")
    assert Network.named("germany50").n == 3
    monkeypatch.setattr("sys.path", [str(tmp_path / "here")])
    with pytest.raises(NetworkError, match="a version without it"):
        Network.named("germany50")


def test_positions_of_the_constructor() -> None:
    given = [(0, 1), (2, 3.5)]
    network = Network(2, [(0, 1)], positions=given)
    assert network.positions is not None
    assert network.positions.dtype == np.float64
    assert network.positions.tolist() == [[0.0, 1.0], [2.0, 3.5]]
    assert Network.line(3).positions is None


@pytest.mark.parametrize(
    "given", [[(0, 1)], [(0, 1), (2,)], [(0, 1), (2, np.nan)], "ab", [("a", "b")] * 2, [(0, 1, 2)] * 2]
)
def test_bad_positions(given: object) -> None:
    with pytest.raises(NetworkError, match="positions must be a pair of finite numbers for each of the 2 nodes"):
        Network(2, [(0, 1)], positions=given)
