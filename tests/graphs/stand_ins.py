"""Small packages in the layout of topohub, pypower and libpysal, for tests where those are not installed."""

import json
import sys
from pathlib import Path

import pytest

PACKAGES = ("topohub", "pypower", "libpysal")
OF_FILES_ALONE = 'raise ImportError("files are read, no code is run")\n'
BACKBONE = {
    "directed": False,
    "multigraph": False,
    "graph": {"name": "germany50", "demands": {"0": {"1": 2.0}}},
    "nodes": [
        {"id": 0, "name": "Köln", "pos": [6.96, 50.94]},
        {"id": 1, "name": "Bonn", "pos": [7.1, 50.73]},
        {"id": 2, "name": "Aachen", "pos": [6.04, 50.76]},
    ],
    "edges": [{"source": 0, "target": 1, "dist": 25.0}, {"source": 2, "target": 0, "dist": 64.0}],
}
CASE = """from numpy import array


def case14():
    rest = [0.01] * 8
    ends = [[30, 2, 1], [2, 30, 1], [7, 2, 1], [7, 30, 0]]
    return {
        "bus": array([[30.0, 1], [2, 1], [7, 1]]),
        "branch": array([[i, j, *rest, on, -360, 360] for i, j, on in ends], dtype=float),
    }
"""
LOOP = CASE.replace("case14", "case9").replace("[7, 30, 0]", "[7, 7, 1]")
FILES = {
    "topohub/__init__.py": OF_FILES_ALONE,
    "topohub/data/sndlib/germany50.json": json.dumps(BACKBONE),
    "topohub/data/sndlib/polska.json": json.dumps({**BACKBONE, "links": BACKBONE["edges"]}),
    "pypower/__init__.py": "",
    "pypower/case14.py": CASE,
    "pypower/case9.py": LOOP,
    "libpysal/__init__.py": OF_FILES_ALONE,
    "libpysal/examples/us_income/states48.gal": "3\n0 1\n2\n1 1\n2\n2 2\n0 1\n",
    "libpysal/examples/us_income/usjoin.csv": '"Name","STATE_FIPS",1929\n"Iowa",19,1\n"New York",36,2\n"Utah",49,3\n',
    "libpysal/examples/sids2/sids2.gal": "0 3 sids2 FIPSNO\n37009 1\n37005\n37005 1\n37009\n37001 1\n37009\n",
}


def installed(patch: pytest.MonkeyPatch, directory: Path) -> None:
    """Puts the stand-ins first on the path, and forgets what has been imported of the real ones."""
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    _forget(patch)
    for module in ("pypower", "pypower.case14", "pypower.case9"):
        patch.setitem(sys.modules, module, None)  # type: ignore[arg-type]  # so that they are forgotten afterwards
        patch.delitem(sys.modules, module)
    patch.syspath_prepend(directory)


def absent(patch: pytest.MonkeyPatch) -> None:
    """Makes the three packages as good as not installed."""
    _forget(patch)
    for package in PACKAGES:
        patch.setitem(sys.modules, package, None)  # type: ignore[arg-type]


def _forget(patch: pytest.MonkeyPatch) -> None:
    for module in list(sys.modules):
        if module.partition(".")[0] in PACKAGES:
            patch.delitem(sys.modules, module)
