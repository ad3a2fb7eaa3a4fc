"""The paper's theorems and Algorithm 1 need a critic that is a table: one free number for every joint pair."""

from abc import ABC, abstractmethod
from typing import Any

from marl.core.shapes import Actions, PerReplica, States
from marl.core.snapshot import SnapshotModule


class Table(SnapshotModule, ABC):
    """These are the entries of a tabular critic, which has them as `critic.table`. Every other critic has None there.

    A table may grow: entries are made for the pairs that are met, and everything else counts as 0. It learns by plain
    gradient steps alone, and lives in main memory.
    """

    @abstractmethod
    def visit(self, s: States, a: Actions) -> None:
        """Makes entries for the pair, and room for them. Shapes: s, a [*K, B, n]."""

    @property
    @abstractmethod
    def grows(self) -> bool:
        """Says whether entries are made for what is visited, or all are there from the start."""

    @abstractmethod
    def make_room(self, visits: int) -> None:
        """Makes room for so many more visited pairs of every agent. Errors: `NotEnoughMemoryError`."""

    @abstractmethod
    def growth(self, visits: int) -> int:
        """Counts the bytes by which the table can at most grow within so many more visits."""

    @abstractmethod
    def track_sup_norm(self, on: bool) -> None:
        """Keeps `sup_norm` at hand from now on, because every step will ask for it, or no longer."""

    @abstractmethod
    def sup_norm(self) -> PerReplica:
        """Returns max_i ||Q_i||_inf per replica [B], exact."""

    @abstractmethod
    def updated(self, s: States, a: Actions) -> None:
        """Keeps `sup_norm` exact after the entries of (s, a) [B, n] have changed."""

    @abstractmethod
    def fused_sup_norm(self) -> Any:
        """Returns what keeps `sup_norm` in compiled loops, see `marl.kernels.rescaling`; None if it is not tracked."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Returns the numbers to log: how many entries there are, and how many bytes."""
