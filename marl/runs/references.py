"""References are what a score is seen beside: uniform, rules, the best that agents who see so far can do, the optimum."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marl.core.errors import ConfigError
from marl.core.files import located, write_atomically

FILE = "optimum.json"
NARROW = 0.01
"""Width of a bracket, relative to the distance from uniform, up to which the optimum counts as known."""

SAME = 1e-9
"""Relative distance up to which two values are the same."""


@dataclass(frozen=True)
class References:
    """This is what is known of one environment, all in average reward per agent and step.

    environment: the digest of what it holds. rules: name -> value. best_local: hops -> the best rule found of agents that
    see so far (one for all of them where they are alike). ascent: hops -> the best policy found, each agent with its own.
    optimum: a bracket on the best of all policies, or None. bound: a value that no policy can exceed, or None.
    intervals: what was simulated -> its 95 % interval; all else is exact. how: what was computed -> how, in words.
    """

    environment: str
    uniform: float
    rules: dict[str, float] = field(default_factory=dict)
    best_local: dict[int, float] = field(default_factory=dict)
    ascent: dict[int, float] = field(default_factory=dict)
    optimum: tuple[float, float] | None = None
    bound: float | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> tuple[str, float]:
        """The reference, (name, value), is the optimum where it is known, else the best rule, the bound, or uniform.

        A rule that is no better than uniform is none.
        """
        if self.optimum is not None:
            low, high = self.optimum
            middle = (low + high) / 2.0
            if high - low <= NARROW * abs(middle - self.uniform):
                return "optimum", middle
        name = max(self.rules, key=lambda rule: self.rules[rule], default="")
        if name and self.rules[name] > self.uniform:
            return name, self.rules[name]
        return ("bound", self.bound) if self.bound is not None else ("uniform", self.uniform)

    def normalized(self, score: float) -> float | None:
        """Computes (score - uniform) / (reference - uniform): 0 is uniform, 1 the reference.

        None if the reference is no better than uniform, by more than rounding.
        """
        _, value = self.reference
        distance = value - self.uniform
        return (score - self.uniform) / distance if distance > SAME * max(abs(value), abs(self.uniform)) else None

    @property
    def lines(self) -> dict[str, float]:
        """Names the values that a picture of a curve shows."""
        shown = {"uniform": self.uniform}
        name, value = self.reference
        if self.rules:
            best = max(self.rules, key=lambda rule: self.rules[rule])
            shown[f"best rule ({best})"] = self.rules[best]
        if name == "optimum":
            shown["optimum"] = value
        elif self.bound is not None:
            shown["bound"] = self.bound
        return shown

    def as_json(self, **more: Any) -> bytes:
        """Writes the file."""
        plain = {key: value for key, value in vars(self).items() if key not in ("best_local", "ascent")}
        numbered = {key: {str(k): v for k, v in getattr(self, key).items()} for key in ("best_local", "ascent")}
        return (json.dumps({**plain, **numbered, **more}, indent=1) + "\n").encode()

    def keep(self, directory: Path) -> None:
        """Writes the file into the directory of a run."""
        write_atomically(directory / FILE, lambda file: file.write(self.as_json()))


def of_run(given: str | None, directory: Path, environment: str) -> References | None:
    """Reads what the curve of a run is to be seen beside: where its settings say, or the copy in its directory.

    Errors: `ConfigError` if it is of another environment than that of this digest, or cannot be read.
    """
    if given is None:
        return None
    place, kept = located(given), directory / FILE
    found = read(kept if kept.is_file() and not place.exists() else place)
    if found.environment != environment:
        raise ConfigError(
            f"references={given} is of another environment than this run; marl optimum with the env=... of this run "
            "writes one for it"
        )
    return found


def read(place: Path) -> References:
    """Reads optimum.json, or that in a directory. Errors: `ConfigError` if there is none, or it holds anything else."""
    path = place / FILE if place.is_dir() else place
    try:
        found = json.loads(path.read_bytes())
        return _references(found)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}; give the DIR that marl optimum env=... out=DIR wrote to"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ConfigError(f"{path} is damaged, or was not written by marl optimum") from None


def _references(found: Mapping[str, Any]) -> References:
    optimum, bound = found["optimum"], found["bound"]
    low_high = None if optimum is None else (_number(optimum[0]), _number(optimum[1]))
    return References(
        environment=str(found["environment"]),
        uniform=_number(found["uniform"]),
        rules={str(name): _number(value) for name, value in found["rules"].items()},
        best_local={int(hops): _number(value) for hops, value in found["best_local"].items()},
        ascent={int(hops): _number(value) for hops, value in found["ascent"].items()},
        optimum=low_high,
        bound=None if bound is None else _number(bound),
        intervals={str(name): (_number(low), _number(high)) for name, (low, high) in found["intervals"].items()},
        how={str(name): str(text) for name, text in found["how"].items()},
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("no number")
    return float(value)
