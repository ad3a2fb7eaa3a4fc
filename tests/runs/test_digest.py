"""Whatever a thing holds is in its digest, and nothing that another process would have otherwise."""

import collections
import dataclasses
import enum
import functools
import io
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch

from marl import Coloring, LocalMDP, Network, WirelessAccess, random_local_mdp
from marl.core.environment import Environment
from marl.runs.digest import DEEPEST, digest_of

Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Price:
    """A price, and something that is worked out when it is first asked for."""

    each: float
    steps: list[float]

    @functools.cached_property
    def total(self) -> float:
        return self.each * sum(self.steps)


class Slotted:
    """An object without a dictionary."""

    __slots__ = ("x",)

    def __init__(self, x: Any):
        self.x = x


class Kind(enum.Enum):
    """Two constants."""

    A = 1
    B = 2


class Private:
    """An object that pickle may not have."""

    def __init__(self, x: float):
        self.x = x

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError


class Named(dict[str, float]):
    """A dictionary with an attribute."""

    def __init__(self, name: str):
        super().__init__(a=1.0)
        self.name = name


def layer(weight: float) -> torch.nn.Module:
    made = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(made.weight, weight)
    torch.nn.init.zeros_(made.bias)
    return made


def around(x: float) -> Callable[[], float]:
    return lambda: x


def by_default(x: float) -> Callable[..., float]:
    def held(y: float = x) -> float:
        return y

    return held


class Scaled(torch.nn.Module):
    """A module whose number is an attribute, no parameter."""

    def __init__(self, by: float):
        super().__init__()
        self.by = by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by


def loaded(x: float) -> Any:
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(Scaled(x)), content)
    content.seek(0)
    return torch.jit.load(content)


def ring(x: float) -> SimpleNamespace:
    """Something that holds itself."""
    made = SimpleNamespace(x=x, inner=[])
    made.inner.append(made)
    return made


MAKERS: dict[str, Callable[[float], Any]] = {  # of things that hold a number, 1 or 2
    "number": lambda x: x,
    "whole number": int,
    "text": str,
    "bytes": lambda x: bytes([int(x)]),
    "bytearray": lambda x: bytearray([int(x)]),
    "memoryview": lambda x: memoryview(bytes([int(x)])),
    "list": lambda x: [0, [0, [x, "a"]]],
    "tuple": lambda x: (0, (x,)),
    "set": lambda x: {x, "a", "b"},
    "deque": lambda x: collections.deque([x]),
    "dict": lambda x: {"a": {"b": [x]}},
    "key": lambda x: {x: 0},
    "dict of one's own": lambda x: Named(str(x)),
    "named tuple": lambda x: Point(0, x),
    "dataclass": lambda x: Price(1.0, [x]),
    "namespace": lambda x: SimpleNamespace(a=SimpleNamespace(b=x)),
    "slots": Slotted,
    "not for pickle": Private,
    "enum": lambda x: Kind(int(x)),
    "array": lambda x: np.array([[0.0, x]]),
    "array of objects": lambda x: np.array([None, {"a": x}], dtype=object),
    "array not in a row": lambda x: np.array([[0.0, 1.0], [x, 2.0]]).T,
    "array of records": lambda x: np.array([(1, x)], dtype=[("a", int), ("b", float)]),
    "masked array": lambda x: np.ma.masked_array([1.0, 2.0], mask=[x == 1, False]),
    "scalar": np.float32,
    "date": lambda x: np.datetime64(f"2026-01-0{int(x)}"),
    "tensor": lambda x: torch.tensor([0.0, x]),
    "half": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "complex tensor": lambda x: torch.tensor([1j * x]).conj(),
    "sparse tensor": lambda x: torch.tensor([0.0, x]).to_sparse(),
    "compressed tensor": lambda x: torch.tensor([[0.0, x]]).to_sparse_csr(),
    "parameter": lambda x: torch.nn.Parameter(torch.tensor(x)),
    "module": layer,
    "modules": lambda x: torch.nn.Sequential(torch.nn.ReLU(), layer(x)),
    "graph": lambda x: nx.path_graph(1 + int(x)),
    "weights of a graph": lambda x: nx.Graph([(0, 1, {"weight": x})]),
    "network": lambda x: Network.line(1 + int(x)),
    "names of a network": lambda x: Network(1, np.empty((0, 2), dtype=int), [x]),
    "closure": around,
    "default": by_default,
    "partial": lambda x: functools.partial(max, x),
    "method": lambda x: Price(x, []).__repr__,
    "cache": lambda x: functools.cache(around(x)),
    "itself": ring,
    "script": lambda x: torch.jit.script(Scaled(x)),
    "trace": lambda x: torch.jit.trace(Scaled(x), torch.ones(2)),
    "loaded": loaded,
    "text of a kind": lambda x: np.str_(x),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:`torch.jit")
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_a_thing_holds_is_in_its_digest(make: Callable[[float], Any]) -> None:
    assert digest_of(make(1.0)) == digest_of(make(1.0))
    assert digest_of(make(1.0)) != digest_of(make(2.0))
    held = [SimpleNamespace(part=make(x)) for x in (1.0, 1.0, 2.0)]
    assert digest_of(held[0]) == digest_of(held[1]) != digest_of(held[2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ("1", 1),
        ([1, 2], (1, 2)),
        ([[1], 2], [1, [2]]),
        (["ab", "c"], ["a", "bc"]),
        (np.zeros(2), np.zeros((1, 2))),
        (np.zeros(2), np.zeros(2, dtype=int)),
        (np.zeros(0), np.zeros((0, 2))),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        (Price(1.0, []), SimpleNamespace(each=1.0, steps=[])),
        (abs, max),
        (Kind, Point),
    ],
)
def test_what_is_alike_is_told_apart(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)


def test_what_does_not_count() -> None:
    """The order of a dictionary, what is worked out when it is asked for, and how far a generator has drawn."""
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    price = Price(2.0, [1.0])
    before = digest_of(price)
    assert price.total == 2.0
    assert digest_of(price) == before
    network = Network.ring(5)
    before = digest_of(network)
    network.neighborhood(2)
    assert digest_of(network) == before
    graph = nx.path_graph(3)
    before = digest_of(graph)
    assert len(graph.adj) == len(graph.edges) + 1
    assert digest_of(graph) == before
    for draw in (np.random.default_rng(), np.random.RandomState(), random.Random()):
        before = digest_of(draw)
        draw.random()
        assert digest_of(draw) == before


def test_threads_and_processes_do_not_count() -> None:
    threads = [threading.Thread() for _ in range(2)]
    processes = [subprocess.Popen([sys.executable, "--version"], stdout=subprocess.DEVNULL) for _ in range(2)]
    for process in processes:
        process.wait()
    assert digest_of([threads[0], processes[0]]) == digest_of([threads[1], processes[1]])


def test_things_that_cannot_be_looked_into() -> None:
    """They are their class; nothing is raised."""
    assert digest_of(threading.Lock()) == digest_of(threading.Lock())
    assert digest_of(x for x in ()) == digest_of(x for x in ())
    assert digest_of(torch.zeros(2, device="meta")) != digest_of(torch.zeros(3, device="meta"))
    deep: list[Any] = ["a"]
    for _ in range(10 * DEEPEST):
        deep = [deep, "a"]
    assert digest_of(deep) == digest_of([*deep])


def test_a_name_of_a_file_stands_for_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, kinds in (("pay.txt", (str, Path)), ("pay.npz", (np.load, open))):
        for make in kinds:
            found = []
            for content in (1.0, 1.0, 2.0):
                Path("pay.txt").write_text(str(content))
                np.savez("pay.npz", pay=np.full(2, content))
                held = make(name)
                found.append(digest_of(SimpleNamespace(file=held)))
                if hasattr(held, "close"):
                    held.close()
            if make is not open:  # (an archive has the time in it)
                assert found[0] == found[1]
            assert found[0] != found[2]
    assert digest_of("pay.txt") == digest_of(tmp_path / "pay.txt") == digest_of(str(tmp_path / "pay.txt"))
    assert digest_of("none.txt") != digest_of("nobody.txt")
    assert digest_of(str(tmp_path)) == digest_of(str(tmp_path.parent)) != digest_of("here")
    mapped = np.memmap("numbers.bin", dtype=np.float64, mode="w+", shape=2)
    before = digest_of(mapped)
    mapped[0] = 1.0
    assert digest_of(mapped) != before


LIBRARY: dict[str, Callable[[], Environment]] = {
    "wireless": lambda: WirelessAccess(rows=2, cols=3, action_set="any_slot"),
    "coloring": lambda: Coloring("king:2x3"),
    "random": lambda: random_local_mdp("line:3"),
}


@pytest.mark.parametrize("make", LIBRARY.values(), ids=LIBRARY)
def test_an_environment_is_the_same_before_and_after_it_was_used(make: Callable[[], Environment]) -> None:
    env: Any = make()
    before = digest_of(env)
    assert digest_of(make()) == before
    u = torch.full((2, env.n, env.num_uniforms), 0.3, dtype=torch.float64)
    s = env.reset(u)
    env.step(s, torch.zeros_like(s), u)
    env.network.neighborhood(2)
    assert env.fused() is not None
    assert digest_of(env) == before


PROGRAM = """
import collections, torch
from pathlib import Path
from marl import Coloring, WirelessAccess, random_local_mdp
from marl.runs.digest import digest_of
for env in WirelessAccess(rows=2, cols=3), Coloring("king:2x3"), random_local_mdp("line:3"):
    env.names = {"b", "a", "c", Path("d")}, {"x": {"y", "z"}}, print, frozenset("abc")
    env.inner = [env, torch.nn.ReLU(), lambda s: s in {"p", "q", "r"}]
    print(digest_of(env))
"""


def test_another_process_finds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Hashes of texts are other ones there, and so is every address."""
    exec(PROGRAM, {"__name__": "__main__"})
    here = capsys.readouterr().out
    seed = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run([sys.executable, "-c", PROGRAM], env=seed, capture_output=True, text=True, check=True)
    assert there.stdout == here
    assert len(set(here.split())) == 3


def test_other_tables_are_another_environment() -> None:
    law = [np.full((2, 1, 2), 0.5)]
    made = [LocalMDP(Network.line(1), law, [np.full((2, 1), x)]) for x in (0.0, 0.0, 1.0)]
    assert digest_of(made[0]) == digest_of(made[1]) != digest_of(made[2])
