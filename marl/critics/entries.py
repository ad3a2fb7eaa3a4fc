"""The entries of a truncated table say which joint pair has which number, and what is done to it."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from marl.core.checks import choice, integer
from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError
from marl.core.indexing import NeighborhoodKeys
from marl.core.memory import require
from marl.core.network import Neighborhood
from marl.core.shapes import Actions, PerReplica, States
from marl.core.table import Table
from marl.critics.hash_storage import HashStorage
from marl.critics.storage import DenseStorage, Storage
from marl.critics.sup_norm import BlockMaxima

AUTO_DENSE = 2**22
"""`storage=auto` is dense up to this many entries over all replicas,"""
DENSE_EACH = 32
"""or up to so many per agent and replica: cells for half of them take as much memory, and lie anywhere in it."""
MAX_DENSE = 2**28
"""`storage=dense` is refused beyond this many entries."""

Dummy = int | Sequence[int] | Sequence[Sequence[int]] | None


class _Values(nn.Parameter):
    """These are a view of the storage, which is where a copy finds them, too: by itself a copy is empty."""

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Parameter:
        return memo.setdefault(id(self), _Values(self.detach()[:0].clone(), self.requires_grad))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _Values, (self.detach()[:0].clone(), self.requires_grad)


@final
class Entries(Table):
    """There is one number per agent and joint pair of its neighborhood; see `TabularCritic`, whose arguments these are.

    Shapes: parameter `values` [slots + 1, 1], a view of what the storage holds; the last one stands for every missing or
    dummy entry and stays 0. `state_dict` has what the storage saves in its place.
    """

    def __init__(
        self,
        env: FiniteEnvironment,
        neighborhood: Neighborhood,
        *,
        kappa: int,
        storage: str,
        dummy: Dummy,
        replicas: int,
        dtype: torch.dtype,
    ):
        super().__init__()
        self.env, self.kappa, self.replicas = env, kappa, replicas  # it does not move: a table lives in main memory
        self.keys = NeighborhoodKeys(neighborhood, env.index.num_pairs)
        self._kind = choice("critic.storage", storage, ("auto", "dense", "hash"))
        self.storage = self._made(self._kind, dtype)
        self._has_dummy = dummy is not None
        self._dummy = torch.full((env.n,), -1) if dummy is None else self.keys.of(_joint_dummy(env, neighborhood, dummy))
        self.values = _Values(self.storage.values())
        self._maxima: BlockMaxima | None = None
        self._tracked = False

    def q(self, s: Tensor, a: Tensor) -> Tensor:
        """Returns all agents' entries at (s, a), differentiable in `values`. Shapes: s, a [*K, B, n] -> [*K, B, n]."""
        return F.embedding(self.slots(s, a), self.values, padding_idx=self.storage.missing, sparse=True).squeeze(-1)

    def slots(self, s: States, a: Actions) -> Tensor:
        """Finds where Q_i(z_{N_i^kappa}) stands in `values`, the last slot if it is dummy or not yet seen. [*K, B, n]."""
        keys = self.keys.keys(self.env.index.pairs(s, a))
        slots = self.storage.find(keys)
        return slots.masked_fill(keys == self._dummy, self.storage.missing) if self._has_dummy else slots

    def visit(self, s: States, a: Actions) -> None:
        if self.grows:
            keys = self.keys.keys(self.env.index.pairs(s, a))
            self._make_room(self.storage.used + keys.numel() // self.replicas)
            self.storage.insert(keys)

    @property
    def grows(self) -> bool:
        return self.storage.grows

    def make_room(self, visits: int) -> None:
        self._make_room(self._entries_after(visits))

    def growth(self, visits: int) -> int:
        """Counts as if every visit met new joint pairs at every agent, as long as there are any."""
        return self.storage.growth(self._entries_after(visits))

    def fused(self) -> Any:
        """Returns the form of what is in it now; None if it is frozen."""
        if not self.values.requires_grad:
            return None
        return self.storage.fused(
            stride=self.keys.stride.numpy(),
            base=self.keys.base.numpy(),
            dummy=self._dummy.numpy(),
            keep=-1 if self.keys.exact else 2**63 - 1,
        )

    def fused_sup_norm(self) -> Any:
        if not self._tracked:
            return None
        from marl.kernels.rescaling import Maxima  # numba takes its time: only where it is used

        kept = self._block_maxima()
        return Maxima(kept.maxima.numpy(), kept.block)

    def updated(self, s: States, a: Actions) -> None:
        if self._maxima is not None:
            self._maxima.update(self._rows(), self.slots(s, a))

    def track_sup_norm(self, on: bool) -> None:
        self._tracked, self._maxima = on, None

    def sup_norm(self) -> PerReplica:
        return self._block_maxima().largest()

    @property
    def collision_bound(self) -> float:
        """Bounds the probability that any two visited pairs of a replica share an entry; 0 with exact keys."""
        entries = float(self.storage.used.max())
        return 0.5 * entries * entries * self.keys.pair_collision_bound

    def metrics(self) -> dict[str, float]:
        return {"entries": float(self.storage.used.mean()), "bytes": float(self.storage.bytes_held)}

    def get_extra_state(self) -> dict[str, Any]:
        """Returns what the numbers mean, kappa and their bytes, and what the storage saves."""
        return {
            "kappa": torch.tensor(self.kappa),
            "value_bytes": torch.tensor(self.values.element_size()),
            **self.storage.saved(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes over a saved table, of either storage where that was left to the size.

        Errors: ValueError if it is another table.
        """
        kept = dict(state)
        if (kept.pop("kappa"), kept.pop("value_bytes")) != (self.kappa, self.values.element_size()):
            raise ValueError("the saved table has another kappa or dtype")
        storage = self.storage
        if kept.keys() != storage.parts and self._kind == "auto":
            storage = self._made("dense" if storage.grows else "hash", storage.dtype)
        if kept.keys() != storage.parts:
            raise ValueError("the saved table is of another kind of storage")
        storage.load(**kept)
        self.storage = storage
        self._renew()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[prefix + "values"]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict[prefix + "values"] = self.values.detach()  # they come with the storage
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes a copy hold each number once, too: in its storage."""
        super().__setstate__(state)
        self._renew()

    def _made(self, kind: str, dtype: torch.dtype) -> Storage:
        """Makes the storage that was asked for.

        Errors: `ConfigError`, `NotEnoughMemoryError` if a dense one does not fit.
        """
        replicas, total = self.replicas, self.keys.total
        entries = replicas * total
        few = min(MAX_DENSE, max(AUTO_DENSE, replicas * self.env.n * DENSE_EACH))
        if kind == "hash" or (kind == "auto" and entries > few):
            return HashStorage(replicas, dtype, self.env.n)
        if entries > MAX_DENSE:
            raise ConfigError(
                f"critic.storage=dense at kappa={self.kappa} would need {entries:.3g} entries "
                f"({entries * dtype.itemsize:.3g} bytes) for {replicas} replicas; use critic.storage=auto or a smaller "
                "kappa"
            )
        require(int(entries) * dtype.itemsize, f"critic.storage=dense at kappa={self.kappa}")
        return DenseStorage(replicas, dtype, int(total))

    def _block_maxima(self) -> BlockMaxima:
        """Returns those that are kept, or new ones, which are kept if every step will ask for them."""
        found = self._maxima or BlockMaxima(self._rows(), self.storage.width)
        if self._tracked:
            self._maxima = found
        return found

    def _rows(self) -> Tensor:
        return self.values.detach()[:-1].view(self.replicas, -1)

    def _entries_after(self, visits: int) -> np.ndarray:
        """Counts the most entries of every replica after so many more visits [B]."""
        return np.minimum(min(self.keys.total, 2**62), self.storage.used + self.env.n * visits)

    def _make_room(self, entries: np.ndarray) -> None:
        if self.storage.make_room(entries):
            self._renew()

    def _renew(self) -> None:
        """Makes `values` a view of the storage after it has changed."""
        self.values.data = self.storage.values()
        self._maxima = None


def _joint_dummy(env: FiniteEnvironment, neighborhood: Neighborhood, dummy: int | Sequence[Any]) -> Tensor:
    """Writes out the dummy pair of every neighborhood, [n, m]; padding is 0."""
    index, mask, size = neighborhood
    num_pairs, dummy = env.index.num_pairs, _listed(dummy)
    if isinstance(dummy, int) and not isinstance(dummy, bool) and 0 <= dummy < int(num_pairs.min()):
        return torch.where(mask, dummy, 0)
    joint = torch.zeros_like(index)
    rows: list[Any] = list(dummy) if isinstance(dummy, Sequence) else [dummy] * env.n
    if len(rows) != env.n:
        raise ConfigError(f"critic.dummy needs one pair number, or {env.n} of them or of lists, got {len(rows)}")
    flat = not any(isinstance(row, Sequence) for row in rows)
    for i, row in enumerate(rows):
        members = index[i, mask[i]].tolist()
        pairs = [rows[j] for j in members] if flat else row
        if not isinstance(pairs, Sequence) or len(pairs) != int(size[i]):
            got = len(pairs) if isinstance(pairs, Sequence) else repr(pairs)
            raise ConfigError(f"critic.dummy[{i}] needs {int(size[i])} pair numbers, one per neighbor, got {got}")
        for k, (j, pair) in enumerate(zip(members, pairs, strict=True)):
            if integer(f"critic.dummy[{i}]", pair, 0) >= int(num_pairs[j]):
                raise ConfigError(f"critic.dummy: agent {j} has pairs 0 to {int(num_pairs[j]) - 1}, got {pair}")
            joint[i, k] = pair
    return joint


def _listed(dummy: Any) -> Any:
    """Turns arrays and tensors, and those in lists, into lists."""
    if isinstance(dummy, (np.ndarray, np.generic, Tensor)):
        return dummy.tolist()
    if isinstance(dummy, Sequence) and not isinstance(dummy, str):
        return [_listed(row) for row in dummy]
    return dummy
