"""`marl evaluate` measures the long-run average reward of a run's policy."""

from pathlib import Path

from marl.cli import words
from marl.runs import evaluate_run

KEYS = {
    "eval.steps": (words.number, 20000),
    "eval.burn_in": (words.number, None),
    "seed": (words.number, None),
    "trust": (words.truth, False),
}


def main(arguments: list[str]) -> int:
    """Prints one line per replica and one for their mean."""
    places, given = words.read("evaluate", arguments, KEYS)
    if len(places) != 1:
        raise words.other_words("evaluate", places)
    if given["trust"]:
        words.look_here()
    asked = given["eval.steps"], given["eval.burn_in"], given["seed"]
    result = evaluate_run(Path(places[0]), *asked, trust=given["trust"])
    for b, (mean, half) in enumerate(zip(result.average_reward.tolist(), result.half_width.tolist(), strict=True)):
        print(f"replica {b}: average reward {mean:.5f} +- {half:.5f} (95 %, {result.steps} steps)")
    print(f"all {len(result.average_reward)}: average reward {result.average_reward.mean().item():.5f}")
    return 0
