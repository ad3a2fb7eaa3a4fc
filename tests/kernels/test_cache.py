"""What was compiled before a kernel changed is not used again, whichever file the change was in."""

import importlib.util
import os
import shutil
from pathlib import Path

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
