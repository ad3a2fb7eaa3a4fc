"""A user can act on these errors. Each message is one sentence or two: what was given, what is allowed, what to do."""

from typing import Any


class MarlError(Exception):
    """This is the base class of every error raised on purpose; the command line prints it without a traceback."""


class ConfigError(MarlError, ValueError):
    """A setting is wrong: the run never started and nothing was written."""


class NetworkError(ConfigError):
    """A graph is malformed: a self-loop, a node out of range, an unreadable file, ..."""


class CheckpointError(ConfigError):
    """A checkpoint cannot be used: missing, damaged, or written under another configuration."""


class ContractError(MarlError):
    """A part does not keep what it owes, for example a compiled step that differs from its environment's `step`."""


class RunFailedError(MarlError):
    """A run that had begun could not go on: a full disk, a lost directory. What was written before stays good."""


class NotEnoughMemoryError(RunFailedError):
    """Something would not fit into memory. It was not begun: a run that stops here is whole."""


class DivergedError(MarlError):
    """A number stopped being finite during training.

    step: the first environment step at which it happened; what: the first such number that is known; advice: what to do.
    """

    def __init__(self, step: int, replicas: list[int], what: str, advice: str):
        self.step = step
        self.replicas = replicas
        self._what_and_advice = what, advice
        shown = ", ".join(map(str, replicas[:8])) + (", ..." if len(replicas) > 8 else "")
        super().__init__(f"training diverged at step {step}: {what} stopped being finite in replica {shown}; {advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.step, self.replicas, *self._what_and_advice)
