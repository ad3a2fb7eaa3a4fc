"""Scripts of experiments/ and benchmarks/ as modules, whose parts tests ask for."""

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).parents[1]


@functools.cache
def program(name: str, folder: str = "experiments") -> ModuleType:
    """Loads FOLDER/NAME.py, once."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
