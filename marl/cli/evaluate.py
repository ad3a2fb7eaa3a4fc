"""`marl evaluate` measures the long-run average reward of a run's policy, of a rule, or of an untrained policy."""

from pathlib import Path
from typing import Any

from marl.cli import words
from marl.cli.subject import names_part, subject
from marl.core.checks import integer
from marl.runs import evaluate_run
from marl.runs.settings import threads_put_back, use_threads
from marl.trainers.evaluation import Evaluation, evaluate

KEYS = {
    "eval.steps": (words.number, 20000),
    "eval.burn_in": (words.number, None),
    "seed": (words.number, None),
    "trust": (words.truth, False),
}


def main(arguments: list[str]) -> int:
    """Prints one line per replica and one for their mean."""
    result = _of_parts(arguments) if any(map(names_part, arguments)) else _of_run(arguments)
    for b, (mean, half) in enumerate(zip(result.average_reward.tolist(), result.half_width.tolist(), strict=True)):
        print(f"replica {b}: average reward {mean:.5f} +- {half:.5f} (95 %, {result.steps} steps)")
    print(f"all {len(result.average_reward)}: average reward {result.average_reward.mean().item():.5f}")
    return 0


def _of_run(arguments: list[str]) -> Evaluation:
    places, given = words.read("evaluate", arguments, KEYS)
    if len(places) != 1:
        raise words.other_words("evaluate", places)
    if given["trust"]:
        words.look_here()
    asked = given["eval.steps"], given["eval.burn_in"], given["seed"]
    return evaluate_run(Path(places[0]), *asked, trust=given["trust"])


@threads_put_back()
def _of_parts(arguments: list[str]) -> Evaluation:
    settings, env, policy, _, _ = subject("evaluate", arguments, _checked)
    use_threads(None)
    steps, burn_in = settings["eval"]["steps"], settings["eval"]["burn_in"]
    return evaluate(env, policy, steps=steps, burn_in=burn_in, seed=settings["seed"])


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    least = {"seed": 0, "replicas": 1}
    return {**settings, **{key: integer(key, settings[key], low) for key, low in least.items()}}
