"""`marl export` writes a trained policy as a plain file."""

from pathlib import Path

from marl.cli import words
from marl.runs import export_policy, load_policy


def main(arguments: list[str]) -> int:
    """Writes the file and says where it is."""
    places, given = words.read("export", arguments, {"replica": (words.number, None), "trust": (words.truth, False)})
    if len(places) != 2:
        raise words.other_words("export", places)
    run, file = places
    if given["trust"]:
        words.look_here()
    export_policy(load_policy(run, given["replica"], trust=given["trust"]), Path(file))
    print(Path(file))
    return 0
