"""A run directory says what is in it and whether it may be used, and is written so that nothing is ever half there."""

import contextlib
import fcntl
import io
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from marl.core.environment import Environment
from marl.core.errors import CheckpointError, ConfigError
from marl.core.files import write_atomically
from marl.runs import checkpoint
from marl.runs.code import PARTS, code_of, source_of
from marl.runs.digest import digest_of
from marl.runs.settings import Settings

OURS = ("tb", "checkpoint.pt", "metrics.npz", "summary.json")
NOT_IDENTITY = ("steps", "eval", "checkpoint", "log_every", "logger", "resume", "force", "threads", "references")
"""Keys that may differ between two runs whose numbers agree as far as both go."""

log = logging.getLogger(__name__)


def differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lists the keys in which two configurations are different runs, each as "key: value there, value here"."""
    found = []
    for key in [*there, *(key for key in here if key not in there)]:
        old, new = there.get(key), here.get(key)
        if old == new or (not prefix and key in NOT_IDENTITY):
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key} is {old!r} there and {new!r} here")
    return found


class _Plain(yaml.SafeLoader):
    """This reads YAML without aliases, with which a short text can mean gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """Reads a file of settings. Errors: OSError; `yaml.YAMLError` if it is no YAML, or has aliases or no end of levels."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Plain)
    except (RecursionError, ValueError) as error:
        raise yaml.YAMLError(str(error)) from None


class RunDirectory:
    """This holds `.hydra/` (settings), `tb/`, `checkpoint.pt`, `metrics.npz`, and `summary.json`, written last."""

    def __init__(self, path: Path):
        self.path = path

    def config(self) -> dict[str, Any] | None:
        """Reads the configuration that the directory belongs to, None if it belongs to no run."""
        try:
            config = read_yaml(self.path / ".hydra" / "config.yaml")
        except (OSError, yaml.YAMLError):
            return None
        return config if isinstance(config, dict) else None

    def start(self) -> Path | None:
        """Reads where the run was started, from where its settings name files; None if that is not known."""
        try:
            record = read_yaml(self.path / ".hydra" / "hydra.yaml")
            return Path(record["hydra"]["runtime"]["cwd"])
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
            return None

    def finished(self, config: Mapping[str, Any], settings: Settings, depends: Mapping[str, Any]) -> dict[str, Any] | None:
        """Reads the summary if exactly this run is finished here; `depends`: see `what_it_depends_on`.

        Errors: `ConfigError` if anything else is here.
        """
        there = self.config()
        if there is None:
            if found := [name for name in OURS if (self.path / name).exists()]:
                raise ConfigError(
                    f"{self.path} holds {', '.join(found)} of something else; choose another hydra.run.dir, "
                    "or force=true to replace them"
                )
            return None
        if other := differences(there, config):
            raise ConfigError(
                f"{self.path} holds a run of another configuration ({'; '.join(other)}); "
                "choose another hydra.run.dir, or force=true to replace it"
            )
        try:
            summary: dict[str, Any] = json.loads((self.path / "summary.json").read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(summary, dict) or summary.get("status") != "finished" or "steps" not in summary:
            return None
        self.check_environment(summary, depends)
        if summary["steps"] == settings.steps:
            return summary
        if summary["steps"] < settings.steps and settings.resume:
            return None
        raise ConfigError(
            f"{self.path} holds a finished run of {summary['steps']} steps, not {settings.steps}; "
            f"use resume={self.path} to go on to more steps, another hydra.run.dir, or force=true to replace it"
        )

    def saved(self, config: Mapping[str, Any], settings: Settings, depends: Mapping[str, Any]) -> dict[str, Any] | None:
        """Reads the state to continue from, if any. Errors: `CheckpointError` if it is of another configuration."""
        path = self.path / "checkpoint.pt"
        if not path.exists():
            if settings.resume:
                raise CheckpointError(f"resume={self.path}: there is no checkpoint.pt; give the directory of a run")
            return None
        there, state = checkpoint.load(path)
        if other := differences(there, config):
            raise CheckpointError(f"{path} is of another configuration ({'; '.join(other)}); force=true starts anew")
        self.check_environment(state, depends)
        here, steps = state["trainer"]["t"], settings.steps
        if here > steps or (here == steps and config["steps"] != there["steps"]):
            raise ConfigError(f"{path} is at step {here}, and steps={steps} leaves nothing to do; give more steps")
        return state

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs out of the directory, which is made if need be; a killed run holds nothing.

        Errors: `ConfigError` if another run is in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"another run is at work in {self.path}; wait for it or choose another hydra.run.dir"
                ) from None
            yield
        finally:
            os.close(descriptor)

    def open(self, config: Mapping[str, Any], provenance: Mapping[str, str], *, fresh: bool) -> None:
        """Takes the directory for a run; `fresh` removes what an earlier one left."""
        settings = self.path / ".hydra"
        settings.mkdir(parents=True, exist_ok=True)
        (self.path / "summary.json").unlink(missing_ok=True)
        for left in self.path.glob(".checkpoint.pt.*"):  # of a run that was killed while saving
            left.unlink(missing_ok=True)
        if fresh:
            shutil.rmtree(self.path / "tb", ignore_errors=True)
            for name in ("checkpoint.pt", "metrics.npz"):
                (self.path / name).unlink(missing_ok=True)
        texts = {**provenance, "config.yaml": yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False)}
        for name, text in texts.items():
            _write(settings / name, text.encode(errors="surrogateescape"))

    def save(self, config: Mapping[str, Any], state: dict[str, Any]) -> None:
        """Replaces the checkpoint."""
        checkpoint.save(self.path / "checkpoint.pt", dict(config), state)

    def close(self, arrays: Mapping[str, np.ndarray], summary: Mapping[str, Any]) -> None:
        """Writes metrics.npz, then summary.json: the run is over. A number that is not finite is null: JSON has none."""
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        _write(self.path / "metrics.npz", content.getvalue())
        _write(self.path / "summary.json", (json.dumps(_finite(summary), indent=2, allow_nan=False) + "\n").encode())

    def check_environment(self, there: Mapping[str, Any], here: Mapping[str, Any], *, code: bool = True) -> None:
        """Compares the environments of two runs (see `what_it_depends_on`); other code is told only, without `code`.

        Errors: `CheckpointError` if they differ.
        """
        again = "choose another hydra.run.dir, or force=true to replace the run"
        if not isinstance(there.get("code"), Mapping):
            log.warning(
                "%s was written by an earlier version, which noted less of its environment: whether it is still the same "
                "cannot be told",
                self.path,
            )
        elif there.get("environment") != here["environment"]:
            raise CheckpointError(
                f"{self.path} is of another environment, though the settings are the same: what it holds, or a file it was "
                f"made of, has changed; {again}"
            )
        elif there["code"].get("env") != here["code"].get("env"):
            changed = f"{self.path} is of another environment, though the settings are the same: its code has changed"
            if code:
                raise CheckpointError(f"{changed}; put it back, {again}")
            log.warning("%s", changed)

    def tell_other_code(self, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
        """Says which parts besides the environment a run goes on with whose code has changed since."""
        before, now = there.get("code"), here["code"]
        if isinstance(before, Mapping) and (changed := [part for part in PARTS if before.get(part) != now.get(part)]):
            log.warning("%s goes on with other code than it began with, of: %s", self.path, ", ".join(changed))


def what_it_depends_on(config: Mapping[str, Any], env: Environment) -> dict[str, Any]:
    """Digests what a run depends on besides its configuration: `environment`, what it holds, and `code`, by part.

    To be called before anything is done with the environment, which may keep what it finds out on the way.
    """
    return {"environment": digest_of_environment(env), "code": code_of(config)}


def digest_of_environment(env: Environment) -> str:
    """Digests what an environment holds: it is the same for two that were made alike."""
    return digest_of(env, source_of)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content))
