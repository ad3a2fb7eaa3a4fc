"""`marl export`: a trained policy as a plain file."""

from pathlib import Path

import yaml

from marl.core.errors import ConfigError
from marl.export import export_policy
from marl.run import load_policy


def main(arguments: list[str]) -> int:
    """Writes the file and says where it is."""
    places = [argument for argument in arguments if not argument.startswith("replica=")]
    if len(places) != 2:
        raise ConfigError(f"marl export takes RUN_DIR FILE [replica=B], got {' '.join(arguments) or 'nothing'}")
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith("replica=")]
    try:
        replica = yaml.safe_load(given[-1]) if given else None
    except yaml.YAMLError:
        raise ConfigError(f"replica must be a number, got {given[-1]!r}") from None
    path = Path(places[1])
    export_policy(load_policy(places[0], replica), path)
    print(path)
    return 0
