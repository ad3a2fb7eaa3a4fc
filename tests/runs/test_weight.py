"""A small file from somebody else asks for little memory, or it is refused before it is loaded."""

import io
import pickle
import resource
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from marl.core.archives import room
from marl.core.errors import CheckpointError, ConfigError
from marl.envs import local_mdp_from_file
from marl.runs import checkpoint, plan
from marl.runs.directory import RunDirectory, read_yaml
from marl.runs.results import find

CONFIG = dict.fromkeys(("policy", "replicas", "seed", "steps", "threads"))
STATE: dict[str, Any] = {
    "trainer": {"policy": {"x": torch.ones(3, 2)}, "t": 3, "size": torch.Size([2])},
    "last_tenth": [1, 2.5, "a", None, True],
}
STATE |= {"environment": "digest", "arrays": {"step": torch.arange(2**9), "n": 2**40}, "log_every": 2}
LONG = 2**31


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A sound checkpoint."""
    checkpoint.save(tmp_path / "checkpoint.pt", CONFIG, STATE)
    return tmp_path / "checkpoint.pt"


Change = Callable[[dict[str, bytes]], dict[str, bytes]]
"""Member -> content, before and after."""


def rewrite(path: Path, change: Change, compression: int = zipfile.ZIP_STORED) -> None:
    """Changes the members of a zip."""
    with zipfile.ZipFile(path) as archive:
        members = change({name: archive.read(name) for name in archive.namelist()})
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def with_plan(content: bytes) -> Change:
    return lambda members: {**members, "archive/data.pkl": content}


def pickled(state: Any) -> bytes:
    return pickle.dumps({"format": checkpoint.FORMAT, "config": "{}", "state": state}, protocol=2)


def nested(levels: int) -> list[Any]:
    """A list that is the same list ten times, and so on."""
    part: list[Any] = [0]
    for _ in range(levels):
        part = [part] * 10
    return part


class Called:
    """Asks for a call where it is unpickled."""

    def __init__(self, call: Any, *arguments: Any):
        self._reduced = call, arguments

    def __reduce__(self) -> Any:
        return self._reduced


def enlarged(members: dict[str, bytes]) -> dict[str, bytes]:
    """Says that the largest storage has 2^30 numbers."""
    content = members["archive/data.pkl"]
    small, large = b"M\x00\x02", b"J" + (2**30).to_bytes(4, "little")  # 512
    assert small in content
    return {**members, "archive/data.pkl": content.replace(small, large)}


PLANS: dict[str, Change] = {
    "bytes by the gigabyte": with_plan(pickled(Called(bytearray, LONG))),
    "a list of lists of lists": with_plan(pickled(nested(20))),
    "a place for notes far away": with_plan(b"\x80\x02}r" + LONG.to_bytes(4, "little") + b"."),
    "a storage beyond its member": enlarged,
    "a second folder": lambda members: {**members, "other/data.pkl": members["archive/data.pkl"]},
    "no plan": lambda members: {name: content for name, content in members.items() if "pkl" not in name},
}


def test_a_sound_checkpoint_is_read(saved: Path) -> None:
    plan.check(saved)
    config, state = checkpoint.load(saved)
    assert config == CONFIG
    assert state["trainer"]["policy"]["x"].equal(torch.ones(3, 2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_tensors_of_every_kind_are_read(saved: Path, dtype: torch.dtype) -> None:
    whole = torch.arange(12).reshape(3, 4).to(dtype)
    kinds = {
        "view": whole[:, 1:3].t(),
        "empty": whole[:0],
        "number": whole[0, 0],
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    checkpoint.save(saved, CONFIG, {**STATE, "arrays": kinds})
    arrays = checkpoint.load(saved)[1]["arrays"]
    assert all(arrays[name].equal(kind) for name, kind in kinds.items())


@pytest.mark.parametrize("change", PLANS.values(), ids=PLANS.keys())
def test_plans_that_ask_for_too_much(saved: Path, change: Any) -> None:
    rewrite(saved, change)
    peak, clock = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(CheckpointError, match="damaged or not one of ours"):
        checkpoint.load(saved)
    with pytest.raises((ValueError, KeyError, pickle.UnpicklingError)):
        plan.check(saved)  # not torch was it that refused
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 2**17  # KiB
    assert time.perf_counter() - clock < 5.0


def test_a_compressed_checkpoint(saved: Path) -> None:
    rewrite(saved, lambda members: {**members, "archive/data/9": bytes(2**24)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="damaged or not one of ours"):
        checkpoint.load(saved)


def test_one_number_that_is_said_to_be_many(saved: Path) -> None:
    checkpoint.save(saved, CONFIG, {**STATE, "arrays": torch.zeros(1).expand(2**30)})
    with pytest.raises(CheckpointError, match="damaged or not one of ours"):
        checkpoint.load(saved)


def members_of_its_tables(path: Path, shape: tuple[int, ...], size: int, *, dtype: str = "|i1") -> None:
    """An .npz of one agent whose table has a header of that shape, and `size` zero bytes; compressed."""
    np.savez(path, n=1, edges=np.zeros((0, 2), dtype=int), reward_0=np.zeros((2, 1)))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("transition_0.npy", header.getvalue() + bytes(size))


TABLES: dict[str, tuple[tuple[int, ...], int, str]] = {
    "zeros compressed": ((2**12, 1, 2**12), 2**24, "|i1"),
    "a shape without numbers": ((2**40,), 8, "|i1"),
    "letters of no size": ((2**40,), 0, "<U0"),
    "numbers that are one number long": ((1,), 8, f"|V{2**30}"),
}


@pytest.mark.parametrize(("shape", "size", "dtype"), TABLES.values(), ids=TABLES.keys())
def test_tables_that_ask_for_too_much(tmp_path: Path, shape: tuple[int, ...], size: int, dtype: str) -> None:
    members_of_its_tables(tmp_path / "tables.npz", shape, size, dtype=dtype)
    tracemalloc.start()
    with pytest.raises(ConfigError, match=r"tables\.npz.* (ask for|damaged)"):
        local_mdp_from_file(tmp_path / "tables.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_tables_that_are_compressed_a_little(tmp_path: Path) -> None:
    law = np.zeros((200, 1, 200))
    law[..., 0] = 1.0
    tables = {"n": np.array(1), "edges": np.zeros((0, 2), dtype=int), "transition_0": law, "reward_0": np.zeros((200, 1))}
    np.savez_compressed(tmp_path / "tables.npz", **tables)  # type: ignore[arg-type]
    assert local_mdp_from_file(tmp_path / "tables.npz").num_states.tolist() == [200]


def test_metrics_that_ask_for_too_much(tmp_path: Path) -> None:
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text("{}")
    (tmp_path / "run" / "summary.json").write_text('{"status": "finished", "config": {}}')
    step = np.zeros(room(0) // 8 + 1, dtype=np.int8)
    np.savez_compressed(tmp_path / "run" / "metrics.npz", **{"step": step, "train/average_reward": step})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no finished run .*metrics\.npz is damaged"):
        find([tmp_path])


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\n"


@pytest.mark.parametrize("text", [LAUGHS, MERGED, "[" * 1000, "a: &a [*a]"])
def test_settings_of_endless_parts(tmp_path: Path, text: str) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(text)
    with pytest.raises(yaml.YAMLError):
        read_yaml(tmp_path / ".hydra" / "config.yaml")
    assert RunDirectory(tmp_path).config() is None


def test_settings_that_share_a_part_are_written_twice(tmp_path: Path) -> None:
    part = {"value": 1.0}
    RunDirectory(tmp_path).open({"one": part, "other": part}, {}, fresh=True)
    assert RunDirectory(tmp_path).config() == {"one": part, "other": part}
