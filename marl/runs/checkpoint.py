"""Checkpoints are tensors, numbers and strings in one file, loaded without running any code from it."""

import json
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from marl.core.errors import CheckpointError, ConfigError
from marl.core.files import write_atomically
from marl.runs import plan

FORMAT = 5
PARTS = ("environment", "trainer", "arrays", "last_tenth", "log_every")
"""What the state of a run consists of."""


def save(path: Path, config: dict[str, Any], state: dict[str, Any]) -> None:
    """Writes `state` with the configuration it belongs to; the previous checkpoint stays until this one is whole.

    Errors: OSError if it cannot be written.
    """
    payload = {"format": FORMAT, "config": json.dumps(config), "state": state}
    write_atomically(path, lambda file: _Writer(file).save(payload))


def check_savable(name: str, state: Any) -> None:
    """Checks that `load` will read what `save` writes. Errors: `ConfigError` that names what no checkpoint can hold."""
    if isinstance(state, (dict, list, tuple)):
        for key, part in state.items() if isinstance(state, dict) else enumerate(state):
            check_savable(f"{name}[{key!r}]", part)
    elif not isinstance(state, torch.Tensor) and type(state) not in (bool, int, float, str, type(None)):
        raise ConfigError(
            f"{name} is a {type(state).__module__}.{type(state).__qualname__}, and a checkpoint holds tensors, numbers "
            "and strings, in dictionaries, lists and tuples; give such from state_dict or get_extra_state"
        )


class _Writer:
    """This file keeps the reason why it could not be written, which torch replaces by one of its own."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._reason: OSError | None = None

    def save(self, payload: dict[str, Any]) -> None:
        try:
            torch.save(payload, self)  # type: ignore[arg-type]
        except RuntimeError:
            if self._reason is None:
                raise
            raise self._reason from None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self._reason = error
            raise

    def flush(self) -> None:
        self._file.flush()


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads (config, state) of a checkpoint. Errors: `CheckpointError` if it is missing, damaged or of another format."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; give the directory of a run that wrote one")
    try:
        plan.check(path)
        with zipfile.ZipFile(path) as parts:
            if broken := parts.testzip():
                raise ValueError(f"checksum of {broken}")
        payload = torch.load(path, weights_only=True, map_location="cpu")
        if payload["format"] != FORMAT:
            raise CheckpointError(
                f"checkpoint {path} has format {payload['format']}, this version reads format {FORMAT}; "
                "use the version that wrote it, or start anew with force=true"
            )
        config, state = json.loads(payload["config"]), payload["state"]
        if missing := [name for name in PARTS if name not in state]:
            raise KeyError(missing[0])
        if not {"policy", "replicas", "seed", "steps", "threads"} <= config.keys() or "policy" not in state["trainer"]:
            raise KeyError("config")
        if type(state["trainer"]["t"]) is not int or state["trainer"]["t"] < 0:
            raise ValueError("t")
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"checkpoint {path} is damaged or not one of ours ({type(error).__name__})") from None
    return config, state
