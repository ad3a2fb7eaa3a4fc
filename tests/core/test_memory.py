"""What is free is counted, and what does not fit is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from marl import TabularCritic, WirelessAccess
from marl.core import memory
from marl.core.errors import ConfigError, NotEnoughMemoryError

GIB = 2**30


def test_the_free_memory_is_that_of_this_machine() -> None:
    there = memory.free()
    assert there is not None
    assert 2**20 < there < 2**50


@pytest.mark.parametrize(
    ("line", "folder", "files"),
    [
        ("0::/job/step", "job", ("memory.max", "memory.current")),
        ("4:memory:/job/step", "memory/job", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_a_group_around_that_of_the_process_may_allow_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, folder: str, files: tuple[str, str]
) -> None:
    """As batch systems set it: the limit of the job counts, not that of its step, which says "max"."""
    (tmp_path / "membership").write_text(f"9:name=systemd:/\n{line}\n")
    for group, most in (folder, str(300 * 2**20)), (f"{folder}/step", "max"):
        (tmp_path / group).mkdir(parents=True)
        (tmp_path / group / "memory.stat").write_text(f"inactive_file {2**20}\nactive_file {2**20}\n")
        for file, count in zip(files, (most, str(100 * 2**20)), strict=True):
            (tmp_path / group / file).write_text(count + "\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_MEMBERSHIP", tmp_path / "membership")
    assert memory.free() == 202 * 2**20


def test_limited_address_space() -> None:
    """In a process of its own: a table takes what it needs and no more in reserve, and one that is too large says so."""
    program = """
import resource
from marl import TabularCritic, WirelessAccess
from marl.core import memory
from marl.core.errors import NotEnoughMemoryError
env = WirelessAccess()
first = TabularCritic(env, kappa=1).table.storage
first.grow(first.width * 2)  # everything is imported and compiled
resource.setrlimit(resource.RLIMIT_AS, (memory.process_bytes(0) + 2**26, -1))
print(memory.free() <= 2**26)
storage = TabularCritic(env, kappa=1).table.storage
print(storage.stride * 16 < 2**25)
storage.grow(storage.width * 2)
print(storage.width.tolist())
try:
    storage.grow(storage.width * 2**20)
except NotEnoughMemoryError as error:
    print(error)
print(storage.width.tolist(), storage.cells_by_replica().shape[1] == storage.stride)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.splitlines() == [
        "True",
        "True",
        "[8192]",
        "the table of the critic needs 128 GiB and the system does not give them",
        "[8192] True",
    ]


def test_a_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: 2 * GIB)
    memory.require(GIB, "it")
    with pytest.raises(NotEnoughMemoryError, match=r"it needs 1.95 GiB and 2 GiB of memory are free"):
        memory.require(int(1.95 * GIB), "it")
    monkeypatch.setattr(memory, "free", lambda: None)
    memory.require(10**15, "nobody knows")


def test_dense_tables_are_checked_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: 10_000)
    with pytest.raises(NotEnoughMemoryError, match=r"critic\.storage=dense at kappa=1 needs"):
        TabularCritic(WirelessAccess(rows=2, cols=2), kappa=1, storage="dense")
    with pytest.raises(ConfigError):
        TabularCritic(WirelessAccess(), kappa=2, storage="dense")
