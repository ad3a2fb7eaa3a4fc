"""`marl evaluate`: the long-run average reward of a run's policy."""

from pathlib import Path
from typing import Any

import yaml

from marl.core.errors import ConfigError
from marl.run import evaluate_run


def main(arguments: list[str]) -> int:
    """Prints one line per replica and one for their mean."""
    if not arguments:
        raise ConfigError("marl evaluate needs the directory of a run; marl evaluate --help says more")
    settings = _settings(arguments[1:])
    result = evaluate_run(Path(arguments[0]), settings["eval.steps"], settings["eval.burn_in"], settings["seed"])
    for b, (mean, half) in enumerate(zip(result.average_reward.tolist(), result.half_width.tolist(), strict=True)):
        print(f"replica {b}: average reward {mean:.5f} +- {half:.5f} (95 %, {result.steps} steps)")
    print(f"all {len(result.average_reward)}: average reward {result.average_reward.mean().item():.5f}")
    return 0


def _settings(arguments: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {"eval.steps": 20000, "eval.burn_in": None, "seed": None}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key not in settings or not equals:
            known = ", ".join(f"{name}=..." for name in settings)
            raise ConfigError(f"marl evaluate takes {known}, got {argument!r}")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{key} must be a number, got {value!r}") from None
    return settings
