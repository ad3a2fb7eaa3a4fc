"""Scripts of experiments/ as modules, whose parts tests ask for."""

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@functools.cache
def program(name: str) -> ModuleType:
    """Loads experiments/NAME.py, once."""
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
