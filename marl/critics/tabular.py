"""The truncated Q-table of Algorithm 1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from marl.core.checks import choice, integer
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.fused import FusedTable
from marl.core.indexing import NeighborhoodKeys
from marl.core.memory import require
from marl.core.optimizers import is_plain_sgd
from marl.core.shapes import Actions, PerReplica, States
from marl.critics.storage import CELL, DenseStorage, HashStorage, Storage
from marl.critics.sup_norm import BlockMaxima

AUTO_DENSE = 2**22
"""`storage=auto` is dense up to this many entries over all replicas."""
MAX_DENSE = 2**28
"""`storage=dense` is refused beyond this many entries."""

Dummy = int | Sequence[int] | Sequence[Sequence[int]] | None


class _Values(nn.Parameter):
    """A copy of it is empty where a hash table holds the values: they come with its cells."""

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Parameter:
        return memo.setdefault(id(self), _Values(self._kept(), self.requires_grad))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _Values, (self._kept(), self.requires_grad)

    def _kept(self) -> Tensor:
        held = self.detach()
        return (held if held.is_contiguous() else held[:0]).clone()


class TabularCritic(Critic):
    """Q_i(z_{N_i^kappa}): one number per agent and joint pair of its neighborhood, zero until learned.

    storage: `dense` holds every joint pair, `hash` those visited so far and grows by itself, `auto` decides by size.
    Keys are exact while all agents together have fewer than 2^62 joint pairs, else fingerprints whose
    `collision_bound` is reported (see `NeighborhoodKeys`).
    dummy: the pair whose value stays 0 and that is never learned. None, or compact pair numbers: one for all agents,
    one per agent (the joint pair that every neighborhood sees its part of), or one list per agent, in the order of
    its neighborhood.
    Learn it with plain SGD: gradients are sparse.

    Shapes: parameter `values` [slots + 1, 1]; the last one stands for every missing or dummy entry and stays 0. Those of a
    hash table stand beside their keys, in its cells, which is what `state_dict` holds instead of them.
    Errors: `ConfigError` if a dense table is demanded that cannot be held, or the dummy is not a legal pair.
    """

    tabular = True

    def __init__(
        self,
        env: Environment,
        *,
        kappa: int = 0,
        storage: str = "auto",
        dummy: Dummy = None,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, kappa=kappa, replicas=replicas, seed=seed, dtype=dtype)
        self.keys = NeighborhoodKeys(self.neighborhood, env.index.num_pairs)
        self.storage = _choose_storage(choice("critic.storage", storage, ("auto", "dense", "hash")), self)
        self._dummy_key = None if dummy is None else self.keys.of(_joint_dummy(self, dummy))
        self._dummy_keys = np.full(env.n, -1) if self._dummy_key is None else self._dummy_key.numpy()
        self.values = _Values(self.storage.values(dtype))
        self._maxima: BlockMaxima | None = None
        self._tracked = False

    def slots(self, s: States, a: Actions) -> Tensor:
        """Where Q_i(z_{N_i^kappa}) stands in `values`, the last slot if it is dummy or not yet seen. [*K, B, n]."""
        keys = self.keys.keys(self.env.index.pairs(s, a))
        slots = self.storage.find(keys)
        return slots if self._dummy_key is None else slots.masked_fill(keys == self._dummy_key, self.storage.missing)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        slots = self.slots(s, a)
        return F.embedding(slots, self.values, padding_idx=self.storage.missing, sparse=True).squeeze(-1)

    def visit(self, s: States, a: Actions) -> None:
        """Makes entries for the pair, and room for them."""
        if isinstance(self.storage, HashStorage):
            keys = self.keys.keys(self.env.index.pairs(s, a))
            self._make_room(self.storage, self.storage.used + keys.numel() // self.replicas)
            self.storage.insert(keys)

    def fused(self, steps: int) -> FusedTable | None:
        """The table with room for `steps` more steps; None if it is frozen."""
        if not self.values.requires_grad:
            return None
        if isinstance(self.storage, HashStorage):
            self._make_room(self.storage, self._entries_after(steps))
        if self._tracked and self._maxima is None:
            self.sup_norm()
        maxima = None if self._maxima is None else self._maxima.maxima
        if isinstance(self.storage, HashStorage):
            words = self.storage.rows().reshape(self.replicas, -1)
            values = words.view(self.mu.numpy().dtype)
        else:
            words, values = np.empty((self.replicas, 0), dtype=np.int64), self._rows().numpy()
        return FusedTable(self.keys, self._dummy_keys, values, words, self.storage.width, self.storage.used, maxima)

    def updated(self, s: States, a: Actions) -> None:
        """Keeps `sup_norm` exact after a step on (s, a)."""
        if self._maxima is not None:
            self._maxima.update(self._rows(), self.slots(s, a))

    def track_sup_norm(self, on: bool) -> None:
        """Keeps the largest |value| of every block of the table from now on, or no longer."""
        self._tracked, self._maxima = on, None

    def sup_norm(self) -> PerReplica:
        """max_i ||Q_i||_inf per replica [B], exact."""
        if not self._tracked:
            return BlockMaxima(self._rows(), self.storage.width).largest()
        if self._maxima is None:
            self._maxima = BlockMaxima(self._rows(), self.storage.width)
        return self._maxima.largest()

    @property
    def collision_bound(self) -> float:
        """Bound on the probability that any two visited pairs of a replica share an entry; 0 with exact keys."""
        entries = float(self.storage.entries().max())
        return 0.5 * entries * entries * self.keys.pair_collision_bound

    def growth(self, steps: int) -> int:
        """As if every step met new joint pairs at every agent, as long as there are any."""
        if not isinstance(self.storage, HashStorage):
            return 0
        return int((self.storage.wider(self._entries_after(steps)) - self.storage.width).sum()) * CELL

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Only plain SGD: gradients are sparse, and a growing table has no room for an optimizer's memory."""
        if not is_plain_sgd(optimizer):
            raise ConfigError(
                "critic=tabular learns with plain SGD only (no momentum, no weight decay, not maximizing); "
                "leave trainer.critic_optimizer as it is or use critic=neural"
            )

    def metrics(self) -> dict[str, float]:
        """Entries per replica (mean) and bytes of table and keys."""
        store = self.storage
        held = store.cells.nbytes - store.never_written if isinstance(store, HashStorage) else self.values.nbytes
        return {"entries": float(self.storage.entries().double().mean()), "bytes": float(held)}

    def get_extra_state(self) -> dict[str, Any]:
        """What `values` means: kappa, their bytes, and the rows of a hash table, as they stand."""
        said = {"kappa": torch.tensor(self.kappa), "value_bytes": torch.tensor(self.mu.element_size())}
        if not isinstance(self.storage, HashStorage):
            return said
        return said | {"rows": [torch.from_numpy(self.storage.row(b)) for b in range(self.replicas)]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes over saved cells. Errors: ValueError if they are of another table."""
        here = self.get_extra_state()
        if here.keys() != state.keys() or any(here[key] != state[key] for key in ("kappa", "value_bytes")):
            raise ValueError("the saved table has another kappa, storage or dtype")
        if isinstance(self.storage, HashStorage):
            self.storage.use(state["rows"])
        self._renew()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if isinstance(self.storage, HashStorage):
            del destination[prefix + "values"]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if isinstance(self.storage, HashStorage):  # they come with the cells
            state_dict[prefix + "values"] = self.values.detach()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy holds each value once, too: in the cells."""
        super().__setstate__(state)
        self._renew()

    def _rows(self) -> Tensor:
        return self.values.detach()[:-1].view(self.replicas, -1)

    def _entries_after(self, steps: int) -> np.ndarray:
        """The most entries of every replica after `steps` more steps [B]. They do not grow while those steps are taken."""
        return np.minimum(min(self.keys.total, 2**62), self.storage.used + self.env.n * steps)

    def _make_room(self, storage: HashStorage, entries: np.ndarray) -> None:
        wider = storage.wider(entries)
        if (wider > storage.width).any():
            require(storage.growth(wider), "the table of the critic has to grow; that")
            storage.grow(wider)
            self._renew()

    def _renew(self) -> None:
        """After the storage has changed: the values of a hash table are those in its cells."""
        if isinstance(self.storage, HashStorage):
            self.values.data = self.storage.values(self.dtype)
        self._maxima = None


def _choose_storage(storage: str, critic: TabularCritic) -> Storage:
    replicas, total = critic.replicas, critic.keys.total
    if storage == "auto":
        storage = "dense" if replicas * total <= AUTO_DENSE else "hash"
    if storage == "hash":
        return HashStorage(replicas, critic.env.n)
    if replicas * total > MAX_DENSE:
        size = replicas * total
        raise ConfigError(
            f"critic.storage=dense at kappa={critic.kappa} would need {size:.3g} entries "
            f"({size * critic.mu.element_size():.3g} bytes) for {replicas} replicas; "
            "use critic.storage=auto or a smaller kappa"
        )
    require(int(replicas * total) * critic.mu.element_size(), f"critic.storage=dense at kappa={critic.kappa}")
    return DenseStorage(replicas, int(total))


def _joint_dummy(critic: TabularCritic, dummy: int | Sequence[Any]) -> Tensor:
    """The dummy pair of every neighborhood written out, [n, m]; padding is 0."""
    index, mask, size = critic.neighborhood
    num_pairs = critic.env.index.num_pairs
    if isinstance(dummy, int) and not isinstance(dummy, bool) and 0 <= dummy < int(num_pairs.min()):
        return torch.where(mask, dummy, 0)
    joint = torch.zeros_like(index)
    rows: list[Any] = list(dummy) if isinstance(dummy, Sequence) else [dummy] * critic.env.n
    if len(rows) != critic.env.n:
        raise ConfigError(f"critic.dummy needs one pair number, or {critic.env.n} of them or of lists, got {len(rows)}")
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
