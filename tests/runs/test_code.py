"""Code is known again by its source: what it does counts, how it is written down does not."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from marl.runs.code import code_of, source_of
from marl.runs.digest import digest_of

MINE = """
import helpers
from helpers import TABLE as T
from marl import Coloring
FACTOR = 2
LIST = [FACTOR, 3]
def twice(x):
    return helpers.times(x, FACTOR)
def unused(x):
    return x
class Base(Coloring):
    pass
class Mine(Base):
    def _reward(self, s, a):
        return twice(T[0] * LIST[1] * super()._reward(s, a))
"""
HELPERS = """
import numpy as np
TABLE = [1, 2]
OTHER = 5
def times(x, y):
    return x * y
"""
Found = Callable[..., str]


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Found]:
    """found(mine, helpers): the digest of the code of mine.Mine, in modules of this text."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def digest(mine: str = MINE, helpers: str = HELPERS) -> str:
        for name, text in (("mine", mine), ("helpers", helpers)):
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        importlib.import_module("mine")
        return code_of({"env": {"_target_": "mine.Mine", "graph": "ring:5"}}, ["env"])["env"]

    yield digest
    for name in ("mine", "helpers"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIST[1]", "LIST[0]"),  # a method
        ("class Base(Coloring):\n    pass", "class Base(Coloring):\n    def _reward(self, s, a):\n        return s"),
        ("helpers.times(x, FACTOR)", "x"),  # a function that it calls
        ("FACTOR = 2", "FACTOR = 4"),  # a constant
        ("[FACTOR, 3]", "[FACTOR, 4]"),
        ("x * y", "x / y"),  # a function of another module
        ("TABLE = [1, 2]", "TABLE = [7, 2]"),  # a constant of another module
        ("TABLE = [1, 2]", "TABLE = np.ones(2)"),
    ],
)
def test_what_code_does_counts(found: Found, old: str, new: str) -> None:
    assert old in MINE + HELPERS
    assert found() != found(MINE.replace(old, new), HELPERS.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("class Mine(Base):", 'class Mine(Base):\n    """Says what it is."""'),
        ("def twice(x):", "def twice(x):  # a remark\n\n"),
        ("return x\n", "return 5\n"),  # in a function that it does not call
        ("OTHER = 5", "OTHER = 6"),
        ("x * y", "(x  *  y)"),
        ("import helpers\n", "import os\nimport helpers\n"),
    ],
)
def test_how_it_is_written_down_does_not(found: Found, old: str, new: str) -> None:
    assert old in MINE + HELPERS
    assert found() == found(MINE.replace(old, new), HELPERS.replace(old, new))


def test_values_that_a_module_reads_from_files(found: Found, tmp_path: Path) -> None:
    mine = MINE.replace("FACTOR = 2", f"import numpy as np\nFACTOR = np.load({str(tmp_path / 'pay.npy')!r})")
    digests = []
    for pay in (1.0, 1.0, 2.0):
        np.save(tmp_path / "pay.npy", np.full(3, pay))
        digests.append(found(mine))
    assert digests[0] == digests[1] != digests[2]


def test_a_cache_of_a_module_may_fill_up(found: Found) -> None:
    before = found()
    sys.modules["mine"].LIST.append(3)  # type: ignore[attr-defined]
    assert code_of({"env": {"_target_": "mine.Mine"}}, ["env"])["env"] == before


def test_the_library_and_what_is_not_there_have_none() -> None:
    targets = ("marl.Coloring", "torch.optim.SGD", "collections.OrderedDict", "nowhere.At", "none", None, 3)
    for target in targets:
        assert code_of({"env": {"_target_": target}, "policy": {"inner": {"_target_": target}}}, ["env", "policy"]) == {}


def test_functions_that_a_thing_holds() -> None:
    def twice(x: float) -> float:
        return 2 * x

    def thrice(x: float) -> float:
        return 3 * x

    thrice.__qualname__ = twice.__qualname__
    assert digest_of(twice, source_of) != digest_of(thrice, source_of)
    assert digest_of(twice) != digest_of(thrice)
    assert digest_of(lambda x: 2 * x, source_of) == digest_of(lambda x: 2 * x, source_of)
    assert digest_of(lambda x: 2 * x) != digest_of(lambda x: 3 * x)
    assert digest_of(lambda x: x.a) != digest_of(lambda x: x.b)
    assert digest_of(lambda: lambda: 2) != digest_of(lambda: lambda: 3)
