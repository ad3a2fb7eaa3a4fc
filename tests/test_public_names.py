"""The names that the library hands out stand in one stub, which type checkers and the lazy import both read."""

import ast
import importlib
from pathlib import Path

import pytest

import marl

STUB = Path(marl.__file__).with_suffix(".pyi")
IMPORTS = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ImportFrom)]
NAMES = {name.name: f"marl.{node.module}" for node in IMPORTS for name in node.names}


def test_the_stub_is_a_list_of_names_and_nothing_else() -> None:
    """Each is imported under its own name, as a type checker asks of what a stub hands on."""
    assert len(IMPORTS) == len(ast.parse(STUB.read_text()).body)
    assert all(name.asname == name.name for node in IMPORTS for name in node.names)
    assert len(NAMES) == sum(len(node.names) for node in IMPORTS)
    assert sorted(NAMES) == sorted(marl.__all__) == sorted(dir(marl))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    assert getattr(marl, name) is getattr(importlib.import_module(NAMES[name]), name)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match=r"attribute .*Critik"):
        _ = marl.Critik
