"""What was compiled before a kernel changed is not used again, whichever file the change was in."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from marl import kernels


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
        f"import os; os.access = lambda *_: False; import {imported_first}, marl.kernels, numba; "
        "print(numba.config.CACHE_DIR)"
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
