"""The code that parts of a run were made of is known again by its source; comments, docstrings and layout do not count."""

import ast
import contextlib
import hashlib
import importlib.util
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from marl.loggers.flatten import flatten
from marl.runs.digest import NUMBERS, compiled, digest_of

PARTS = ("env", "policy", "critic", "critic_scheduler", "actor_scheduler", "trainer")
"""Parts of a configuration whose code decides about the numbers of a run."""
VALUES = (*NUMBERS, str, bytes, tuple, frozenset, np.ndarray, np.generic, torch.Tensor)
"""Constants of a module that are known by their value; others, which may be filled while a run goes on, by their source."""
LIBRARIES = ("marl", "torch", "numpy", "networkx")
"""Packages whose versions stand in summary.json; a torch optimizer may be named as a class, too."""
_PYTHON = Path(sysconfig.get_paths()["stdlib"])


def code_of(config: Mapping[str, Any], parts: Iterable[str] = PARTS) -> dict[str, str]:
    """Digests, by part, the code of the classes that a configuration names, once they are imported.

    Read are classes and functions, what they derive from, and functions, classes and constants of modules that their
    source names, wherever these are somebody's own files. Not seen: the library and other installed packages (but the
    package that a class comes from is), what a function imports while it runs, and code without a source.
    """
    found = {}
    for part in parts:
        targets = {str(value) for key, value in flatten({part: config.get(part)}).items() if key.endswith("_target_")}
        reader = _Reader({target.partition(".")[0] for target in targets}.difference(LIBRARIES))
        for target in sorted(targets):
            reader.definition(_imported(target))
        if text := reader.text():
            found[part] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return found


def source_of(function: FunctionType) -> str:
    """Returns the source of a function and of what it uses, or what it is compiled to if there is no source of it alone."""
    if function.__name__ == "<lambda>":
        return compiled(function.__code__)
    reader = _Reader()
    reader.definition(function)
    return reader.text()


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


class _Reader:
    """This gathers the source of definitions and of all that they use, name by name."""

    def __init__(self, packages: Iterable[str] = ()):
        """Takes the installed packages that are read, too."""
        self._packages = set(packages)
        self._texts: dict[str, str] = {}

    def text(self) -> str:
        """Returns all that was read, in the order of the names."""
        return "\n".join(f"{name}\n{text}" for name, text in sorted(self._texts.items()))

    def definition(self, thing: Any) -> None:
        """Reads a class or function, once, if it is somebody's own."""
        with contextlib.suppress(ValueError):
            thing = inspect.unwrap(thing)
        module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(name, str) or not self._own(module):
            return
        if f"{module}.{name}" in self._texts:
            return
        self._texts[f"{module}.{name}"] = ""
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        except (OSError, TypeError, SyntaxError):  # of a class that was typed in, its functions may have one
            for method in vars(thing).values() if inspect.isclass(thing) else ():
                self.definition(getattr(method, "__func__", method))
            return
        self._read(f"{module}.{name}", module, tree)

    def _read(self, key: str, module: str, tree: ast.AST) -> None:
        names = vars(sys.modules[module]) if module in sys.modules else {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in names:
                self._named(module, node.id, names[node.id])
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                of = names.get(node.value.id)
                if isinstance(of, ModuleType) and node.attr in vars(of):
                    self._named(of.__name__, node.attr, vars(of)[node.attr])
        self._texts[key] = ast.unparse(_without_docstrings(tree))

    def _named(self, module: str, name: str, value: Any) -> None:
        """Reads what a name of a module stands for."""
        key = f"{module}:{name}"
        if key in self._texts or name.startswith("__") or isinstance(value, ModuleType) or not self._own(module):
            return
        if inspect.isclass(value) or (callable(value) and hasattr(value, "__qualname__")):
            self.definition(value)
        elif isinstance(value, VALUES):
            self._texts[key] = digest_of(value)
        else:
            self._statements(key, module, name)

    def _statements(self, key: str, module: str, name: str) -> None:
        """Reads the statements of a module that bind a name, in the module that it is imported from."""
        self._texts[key] = ""
        try:
            body = ast.parse(inspect.getsource(sys.modules[module])).body
        except (KeyError, OSError, TypeError, SyntaxError):
            return
        for statement in body:
            if isinstance(statement, ast.ImportFrom):
                self._imported_name(module, name, statement)
            elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and name in _bound(statement):
                before = self._texts[key]
                self._read(key, module, statement)
                self._texts[key] = before + self._texts[key]

    def _imported_name(self, module: str, name: str, statement: ast.ImportFrom) -> None:
        package = getattr(sys.modules[module], "__package__", None)
        source = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
        for alias in statement.names:
            if (alias.asname or alias.name) == name and source in sys.modules:
                self._named(source, alias.name, vars(sys.modules[source]).get(alias.name))

    def _own(self, module: str) -> bool:
        """Says whether a module is somebody's own file, or of a package that a part comes from, and none of the library."""
        top, file = module.partition(".")[0], getattr(sys.modules.get(module), "__file__", None)
        if top in LIBRARIES:
            return False
        if not file:
            return module == "__main__"
        path = Path(file)
        installed = {"site-packages", "dist-packages"} & set(path.parts)
        return top in self._packages if installed else not path.is_relative_to(_PYTHON)


def _bound(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return tree
