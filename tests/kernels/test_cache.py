"""What was compiled is kept where that can be, and not used again once a kernel has changed, in whichever file."""

import errno
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba.core import caching

from marl import kernels
from marl.kernels import compiled
from marl.kernels.compiled import cached_njit


def test_older_than_the_newest_kernel(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(Path(kernels.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "__pycache__").mkdir()
    old, new, code = (folder / "__pycache__" / name for name in ("old.nbi", "new.nbi", "old.nbc"))
    for path in (old, new, code):
        path.touch()
    changed = old.stat().st_mtime + 100
    os.utime(folder / "hash_table.py", (changed, changed))
    os.utime(new, (changed + 1, changed + 1))
    spec = importlib.util.spec_from_file_location("copied_kernels", folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert [path.exists() for path in (old, new, code)] == [False, True, True]


@pytest.mark.parametrize("imported_first", ["marl.kernels", "numba"])
def test_where_nothing_can_be_written_a_temporary_folder_is_used(imported_first: str, tmp_path: Path) -> None:
    """Also if numba is imported first, as the file of an environment's compiled step does."""
    program = (
        "import tempfile, os\ndef refused(*_, **__): raise PermissionError\n"
        f"tempfile.TemporaryFile = refused\nimport {imported_first}, marl.kernels, numba; print(numba.config.CACHE_DIR)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / f"marl-numba-{os.getuid()}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own for compiled code, and nothing said of it yet."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "_said", False)
    return tmp_path


def plus_one(x: int) -> int:
    return x + 1


def compiled_anew() -> bool:
    """Compiles and calls; says whether it was compiled, and not found."""
    function = cached_njit()(plus_one)
    assert function(1) == 2
    return sum(function.stats.cache_misses.values()) > 0


def test_compiled_code_is_kept(cache: Path) -> None:
    assert compiled_anew()
    assert not compiled_anew()
    assert len(list(cache.rglob("*.nbi"))) == 1


@pytest.mark.parametrize("signature", [(), (numba.int64(numba.int64),)])
def test_a_disk_that_is_full_is_done_without(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, signature: tuple[object, ...]
) -> None:
    """One line for all functions; no index stays, which could name code that an earlier version has left there."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full)
    for _ in range(2):
        assert cached_njit(*signature)(plus_one)(1) == 2
    assert list(cache.rglob("*.nbi")) == []
    (line,) = caplog.messages
    assert "No space left on device" in line
    assert "NUMBA_CACHE_DIR" in line


def test_no_place_at_all_is_done_without(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with caplog.at_level(logging.WARNING):
        assert compiled_anew()
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("left", [b"", b"hello", b"\x80\x04."])
def test_a_damaged_cache_is_made_anew(cache: Path, caplog: pytest.LogCaptureFixture, left: bytes) -> None:
    compiled_anew()
    for index in cache.rglob("*.nb?"):
        index.write_bytes(left)
    assert compiled_anew()
    assert not compiled_anew()
    assert caplog.messages == []


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies there would be run."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = kernels._own_temporary_folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert kernels._own_temporary_folder() is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert kernels._own_temporary_folder() is None


def test_every_function_that_is_kept_is_kept_so() -> None:
    package = Path(kernels.__file__).parents[1]
    texts = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert [path for path, text in texts.items() if re.search(r"^@.*cache=True", text, flags=re.MULTILINE)] == []
