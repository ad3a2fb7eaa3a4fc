"""The `marl` command imports nothing heavy before it is needed; each of its commands is a module of its own."""

import importlib
import sys

from marl.cli.help import USAGE
from marl.cli.streams import GONE, outlived

COMMANDS = ("train", "evaluate", "export", "plot", "certify", "decay", "optimum", "watch", "graphs")


def main() -> int:
    """Runs the command. Exit code 0: done; 1: the run failed or diverged; 2: the request was wrong; 130: interrupted."""
    with outlived() as printed:
        code = _run(sys.argv[1:])
        for stream in printed:
            sys.stdout.flush()
            if stream.lost is not None and stream.lost.errno not in GONE:
                print(f"marl: what it printed could not be written: {stream.lost.strerror}", file=sys.stderr)
                code = code or int(sys.argv[1:2] == ["evaluate"])  # the others have their results in files
    return code


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        print(f"marl: there is no command {command!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    if any(argument in ("-h", "--help") for argument in rest):
        print(importlib.import_module("marl.cli.help").of(command))
        return 0
    if warning := importlib.import_module("marl.cli.installation").other_distribution():
        print(f"marl: {warning}", file=sys.stderr)
    try:
        return int(importlib.import_module(f"marl.cli.{command}").main(rest))
    except KeyboardInterrupt:
        more = "; the same command continues from the last checkpoint" if command == "train" else ""
        print(f"marl: interrupted{more}", file=sys.stderr)
        return 130
    except Exception as error:
        return int(importlib.import_module("marl.cli.report").report(error))
