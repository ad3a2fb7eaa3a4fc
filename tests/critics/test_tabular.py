"""The table: hash against dense, its growth and memory, sup norms and checkpoints."""

import contextlib
import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from marl.core.errors import ConfigError
from marl.core.snapshot import in_place
from marl.critics import TabularCritic, entries, hash_storage
from marl.critics.hash_storage import HashStorage
from marl.critics.storage import DenseStorage
from marl.envs import WirelessAccess
from marl.policies import TabularSoftmax
from marl.runs.memory import bytes_held
from marl.schedulers import Constant, PowerLaw
from marl.trainers import ScalableActorCritic
from tests.critics.experience import REPLICAS as B
from tests.critics.experience import experience, learn, neighborhood_pairs, table_of


@pytest.fixture
def tiny_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash tables start with so few slots that they grow many times."""
    monkeypatch.setattr(hash_storage, "_FIRST_WIDTH", 8)


def saved(critic: TabularCritic) -> io.BytesIO:
    """Its state, as in a checkpoint."""
    file = io.BytesIO()
    torch.save(critic.state_dict(), file)
    file.seek(0)
    return file


def scanned(critic: TabularCritic) -> Tensor:
    rows = critic.table.values.detach()[:-1].view(critic.replicas, -1)
    return torch.stack([row[:width].abs().max() for row, width in zip(rows, critic.table.storage.width, strict=True)])


@pytest.mark.parametrize("kappa", [0, 1, 2])
def test_hash_equals_dense_while_it_grows(tiny_rows: None, small: WirelessAccess, kappa: int) -> None:
    dense = TabularCritic(small, kappa=kappa, storage="dense", replicas=B)
    hashed = TabularCritic(small, kappa=kappa, storage="hash", replicas=B)
    visited: list[set[tuple[int, ...]]] = [set() for _ in range(B)]
    widths = set()
    for step in experience(small, 150):
        for critic in (dense, hashed):
            learn(critic, step)
            assert torch.equal(critic.table.sup_norm(), scanned(critic))
        for row, width in zip(hashed.table.storage.cells_by_replica(), hashed.table.storage.width, strict=True):
            row[width:] = 99  # what is not in use may hold anything
        for b in range(B):
            visited[b] |= {
                *neighborhood_pairs(dense, step.s, step.a, b),
                *neighborhood_pairs(dense, step.next_s, step.next_a, b),
            }
        assert hashed.table.storage.used.tolist() == [len(pairs) for pairs in visited]
        assert torch.equal(hashed.table.sup_norm(), dense.table.sup_norm())
        widths.add(tuple(hashed.table.storage.width))
    assert len(widths) >= (4 if kappa else 3)
    for step in [*experience(small, 150), *experience(small, 20, seed=1)]:
        assert torch.equal(hashed.q(step.s, step.a), dense.q(step.s, step.a))
    assert torch.equal(hashed.mu, dense.mu)
    assert hashed.table.values[-1] == dense.table.values[-1] == 0.0


def test_rows_grow_each_at_its_own_time(tiny_rows: None, small: WirelessAccess) -> None:
    """Replica 1 stands still, so that its row stays as it is; a row that was moved is what it was."""
    critic = TabularCritic(small, kappa=1, storage="hash", replicas=B)
    strides = set()
    for step in experience(small, 150):
        for s, a in ((step.s, step.a), (step.next_s, step.next_a)):
            s[1], a[1] = 0, 0
            critic.table.visit(s, a)
            for row, width in zip(critic.table.storage.cells_by_replica(), critic.table.storage.width, strict=True):
                row[width:] = 99
        strides.add(critic.table.storage.stride)
    assert critic.table.storage.used.tolist() == [len(table_of(critic, 0)), small.n]
    assert critic.table.storage.width[0] > 32 * critic.table.storage.width[1]
    assert len(strides) > 1
    assert critic.table.metrics()["bytes"] == (critic.table.storage.width.sum() + 1) * 16


@pytest.mark.parametrize(("few", "each", "kind"), [(0, 20, DenseStorage), (0, 4, HashStorage), (100, 4, DenseStorage)])
def test_a_table_is_dense_while_it_is_small_or_agents_have_few_entries(
    few: int, each: int, kind: type, small: WirelessAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "AUTO_DENSE", few)
    monkeypatch.setattr(entries, "DENSE_EACH", each)
    critic = TabularCritic(small, kappa=0)
    assert 4 * small.n < critic.table.keys.total <= min(100, 20 * small.n)
    assert type(critic.table.storage) is kind


def test_a_table_that_chose_its_storage_goes_on_with_the_one_that_was_saved(small: WirelessAccess) -> None:
    """Rules by which it is chosen may change from one version to the next."""
    saved, loaded = (TabularCritic(small, kappa=0, storage=kind, replicas=B) for kind in ("hash", "auto"))
    for transition in experience(small, 3):
        learn(saved, transition)
    assert not loaded.table.grows
    loaded.load_state_dict(saved.state_dict())
    assert loaded.table.grows
    assert [table_of(loaded, b) for b in range(B)] == [table_of(saved, b) for b in range(B)]
    with pytest.raises(ValueError, match="another kind of storage"):
        TabularCritic(small, kappa=0, storage="dense", replicas=B).load_state_dict(saved.state_dict())


def test_what_was_never_written_is_neither_held_nor_saved(small: WirelessAccess) -> None:
    critic = TabularCritic(small, kappa=1, storage="hash", replicas=B)
    learn(critic, next(iter(experience(small, 1))))
    assert critic.table.storage.cells.nbytes > 32 * critic.table.metrics()["bytes"]
    assert critic.table.metrics()["bytes"] <= bytes_held(critic) < critic.table.metrics()["bytes"] + 50_000
    least = 16 * int(critic.table.storage.used.sum()) + int(critic.table.storage.width.sum())
    for size in (len(pickle.dumps(critic)), saved(critic).getbuffer().nbytes):
        assert least <= size < least + 50_000


def test_a_table_packed_where_it_stands_is_put_back_and_read_again_slot_by_slot(small: WirelessAccess) -> None:
    critic = TabularCritic(small, kappa=1, storage="hash", replicas=B)
    for step in experience(small, 400):
        learn(critic, step)
    storage = critic.table.storage
    before = [storage.row(b).copy() for b in range(B)]
    copied = saved(critic).getvalue()
    with in_place():
        assert saved(critic).getvalue() == copied
        assert all(storage.row(b)[0, 0] >= 0 and (storage.row(b) != before[b]).any() for b in range(B))
    read = TabularCritic(small, kappa=1, storage="hash", replicas=B)
    read.load_state_dict(torch.load(io.BytesIO(copied), weights_only=True))
    for b in range(B):
        assert (storage.row(b) == before[b]).all()
        assert (read.table.storage.row(b) == before[b]).all()
    assert (read.table.storage.used == storage.used).all()


def test_a_table_is_put_back_though_it_could_not_be_written(small: WirelessAccess) -> None:
    critic = TabularCritic(small, kappa=1, storage="hash", replicas=B)
    for step in experience(small, 100):
        learn(critic, step)
    before = critic.table.storage.cells.clone()
    with contextlib.suppress(OSError), in_place():
        critic.state_dict()
        assert not torch.equal(critic.table.storage.cells, before)
        raise OSError("the disk is full")
    assert torch.equal(critic.table.storage.cells, before)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state["filled"].pop(), "another number of replicas"),
        (lambda state: state["entries"].append(state["entries"][0]), "another number of replicas"),
        (lambda state: state.update(entries=[part[:, :1] for part in state["entries"]]), "entries that no table has"),
        (lambda state: state.update(entries=[part.double() for part in state["entries"]]), "entries that no table has"),
        (lambda state: state["entries"][0][3].fill_(-1), "entries that no table has"),
        (lambda state: state.update(filled=[part[1:] for part in state["filled"]]), "of a length that no table has"),
        (lambda state: state.update(filled=[part[:0] for part in state["filled"]]), "of a length that no table has"),
        (lambda state: state.update(filled=[part.byte() for part in state["filled"]]), "of a length that no table has"),
        (lambda state: state["filled"][0].logical_not_(), "fewer entries, or more"),
        (lambda state: state.update(entries=[part[1:] for part in state["entries"]]), "fewer entries, or more"),
        (lambda state: state.update(rows=[]), "another kind of storage"),
    ],
)
def test_what_no_table_saved_is_refused(
    small: WirelessAccess, spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    critic = TabularCritic(small, kappa=1, storage="hash", replicas=B)
    learn(critic, next(iter(experience(small, 1))))
    state = critic.table.get_extra_state()
    spoil(state)
    with pytest.raises(ValueError, match=message):
        critic.table.set_extra_state(state)


def test_unseen_pairs_read_zero_and_asking_makes_no_entry(small: WirelessAccess) -> None:
    critic = TabularCritic(small, kappa=1, storage="hash", replicas=B)
    steps = list(experience(small, 30))
    learn(critic, steps[0])
    entries = critic.table.storage.used.tolist()
    seen = [{*neighborhood_pairs(critic, steps[0].s, steps[0].a, b)} for b in range(B)]
    assert (critic.q(steps[0].s, steps[0].a) != 0.0).all()
    for step in steps[1:]:
        q = critic.q(step.s, step.a)
        critic.loss(q, step)
        for b in range(B):
            for i, pairs in enumerate(neighborhood_pairs(critic, step.s, step.a, b)):
                assert q[b, i] == 0.0 or pairs in seen[b]
    assert critic.table.storage.used.tolist() == entries


@pytest.mark.parametrize(("dtype", "size"), [(torch.float64, 8), (torch.float32, 4)])
def test_metrics_count_entries_and_bytes(mixed: WirelessAccess, dtype: torch.dtype, size: int) -> None:
    dense = TabularCritic(mixed, kappa=1, storage="dense", replicas=3, dtype=dtype)
    assert dense.table.metrics() == {"entries": 252.0, "bytes": (3 * 256 + 1) * size}
    hashed = TabularCritic(mixed, kappa=1, storage="hash", replicas=3, dtype=dtype)
    assert hashed.table.metrics() == {"entries": 0.0, "bytes": (3 * 4096 + 1) * 16}
    s = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 1, 1]])
    hashed.table.visit(s, torch.zeros_like(s))
    hashed.table.visit(torch.zeros_like(s), torch.zeros_like(s))
    assert hashed.table.metrics()["entries"] == (3 + 3 + 6) / 3


def test_auto_storage_goes_by_size(mixed: WirelessAccess) -> None:
    assert isinstance(TabularCritic(mixed, kappa=1).table.storage, DenseStorage)
    assert isinstance(TabularCritic(WirelessAccess(), kappa=1).table.storage, HashStorage)


def test_a_dense_table_that_cannot_be_held_is_refused_with_its_size() -> None:
    env = WirelessAccess(access_points="corners")  # 1 + 3 * 5 = 16 pairs each; 3 x 3 neighborhoods, cut at the border
    size = 2 * sum(16 ** ((3 - (row in (0, 4))) * (3 - (col in (0, 4)))) for row in range(5) for col in range(5))
    words = rf"critic.storage=dense at kappa=1 would need {size:.3g} entries \({4 * size:.3g} bytes\)".replace("+", r"\+")
    with pytest.raises(ConfigError, match=words):
        TabularCritic(env, kappa=1, storage="dense", replicas=2, dtype=torch.float32)


@pytest.mark.parametrize(("kind", "first_width"), [("dense", 0), ("hash", 8), ("hash", 2**14)])
def test_a_run_continued_from_a_checkpoint_is_the_run(
    tiny_rows: None, monkeypatch: pytest.MonkeyPatch, small: WirelessAccess, kind: str, first_width: int
) -> None:
    written = TabularCritic(small, kappa=1, storage=kind, replicas=B)
    steps = list(experience(small, 120))
    for step in steps[:60]:
        learn(written, step)
    file = saved(written)
    monkeypatch.setattr(hash_storage, "_FIRST_WIDTH", first_width)
    read = TabularCritic(small, kappa=1, storage=kind, replicas=B)
    assert (read.table.storage.width != written.table.storage.width).all() == (kind == "hash")
    learn(read, steps[-1])  # something to be forgotten, its largest value too
    assert read.table.sup_norm().max() > 0.0
    read.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(read.table.sup_norm(), scanned(written))
    for step in steps[60:]:
        learn(read, step)
        learn(written, step)
    for step in steps:
        assert torch.equal(read.q(step.s, step.a), written.q(step.s, step.a))
    assert torch.equal(read.table.sup_norm(), scanned(written))
    assert torch.equal(read.mu, written.mu)


def test_a_loaded_table_is_a_copy(small: WirelessAccess) -> None:
    written, read = (TabularCritic(small, kappa=1, storage="hash", replicas=B) for _ in range(2))
    first, second = experience(small, 2)
    learn(written, first)
    read.load_state_dict(written.state_dict())
    learn(written, second)
    assert (read.q(second.s, second.a) == 0.0).all()
    assert read.table.storage.used.tolist() == [2 * small.n] * B
    assert [len(row) for row in read.table.get_extra_state()["entries"]] == [2 * small.n] * B


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda critic: pickle.loads(pickle.dumps(critic))])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_copy_keeps_its_values_beside_its_keys(
    small: WirelessAccess, copied: Callable[[TabularCritic], TabularCritic], dtype: torch.dtype
) -> None:
    critic = TabularCritic(small, kappa=1, storage="hash", replicas=B, dtype=dtype)
    first, second = experience(small, 2)
    learn(critic, first)
    other = copied(critic)
    held = critic.q(first.s, first.a)
    assert torch.equal(other.q(first.s, first.a), held)
    learn(other, first)
    learn(other, second)
    cells = other.table.storage.cells
    assert other.table.values.untyped_storage().data_ptr() == cells.untyped_storage().data_ptr()
    assert torch.equal(critic.q(first.s, first.a), held)
    assert not torch.equal(other.q(first.s, first.a), held)
    assert critic.table.storage.used.tolist() == [2 * small.n] * B


def test_values_of_another_dtype_are_refused(small: WirelessAccess) -> None:
    single, double = (TabularCritic(small, kappa=1, storage="hash", dtype=d) for d in (torch.float32, torch.float64))
    with pytest.raises(ValueError, match="another kappa or dtype"):
        double.load_state_dict(single.state_dict())


@pytest.mark.parametrize(
    ("kind", "other", "kappa"),
    [("hash", "dense", 1), ("dense", "hash", 1), ("dense", "dense", 2), ("hash", "hash", 2), ("hash", "hash", 0)],
)
def test_a_checkpoint_of_another_table_is_refused(
    monkeypatch: pytest.MonkeyPatch, mixed: WirelessAccess, kind: str, other: str, kappa: int
) -> None:
    """The keys would be read as those of other joint pairs."""
    monkeypatch.setattr(hash_storage, "_FIRST_WIDTH", 256)  # as wide as the dense table: the shapes do not tell
    written = TabularCritic(mixed, kappa=1, storage=kind)
    with pytest.raises((RuntimeError, KeyError, ValueError)):
        TabularCritic(mixed, kappa=kappa, storage=other).load_state_dict(written.state_dict())


def test_fingerprints_train_and_state_their_collision_probability() -> None:
    env = WirelessAccess(rows=7, cols=7)
    critic = TabularCritic(env, kappa=3)
    trainer = ScalableActorCritic(
        env,
        TabularSoftmax(env),
        critic,
        critic_scheduler=PowerLaw(0.9, 0.3),
        actor_scheduler=Constant(5.0),
        rescale=True,
    )
    trainer.run(25)
    entries = int(critic.table.storage.used[0])
    assert not critic.table.keys.exact
    assert 49 * 20 < entries <= 49 * 26
    assert critic.table.collision_bound == 0.5 * entries**2 * critic.table.keys.pair_collision_bound < 1e-11
    assert critic.table.values.isfinite().all()
    assert torch.equal(critic.table.sup_norm(), scanned(critic))
    assert scanned(critic) > 0.0
    assert TabularCritic(env, kappa=1, storage="hash").table.collision_bound == 0.0
