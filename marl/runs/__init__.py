"""A run and its directory are trained, interrupted and continued, summed up, read again and exported here.

`run` trains, `policy` loads what was learned, `directory` and `checkpoint` hold what is on disk, `results` reads many runs.
Names are imported on first use: tables of finished runs need no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marl.runs.export import export_policy
    from marl.runs.policy import evaluate_run, load_policy
    from marl.runs.run import train

__all__ = ["evaluate_run", "export_policy", "load_policy", "train"]

_MODULES = {"evaluate_run": "policy", "export_policy": "export", "load_policy": "policy", "train": "run"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"marl.runs.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
