"""These are compiled loops on plain arrays. Nothing here knows the rest of the library.

Compiled code is kept beside these files or in the user's cache; where neither can be written, in a temporary folder, and
where that cannot be either, nowhere (`marl.kernels.compiled`). numba compiles a function anew when its own file has
changed, but not when a function that it calls has: what was compiled before the newest of these files is let go, where it
is kept beside them.
"""

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path


def _can_be_written(folder: Path) -> bool:
    """Tries it, as numba does, which makes the folder: a user's own cache may belong to somebody else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _own_temporary_folder() -> Path | None:
    """Makes a temporary folder that nobody else can put code into: what is kept there will be run."""
    folder = Path(tempfile.gettempdir()) / f"marl-numba-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        made = folder.lstat()
    except OSError:
        return None
    safe = stat.S_ISDIR(made.st_mode) and made.st_uid == os.getuid() and not made.st_mode & 0o022
    return folder if safe else None


def _keep_somewhere() -> None:
    """Names a folder for compiled code where numba would find none, or would make one called "~" for want of a home."""
    home = os.path.expanduser("~")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")) / "numba"
    places = [Path(__file__).parent / "__pycache__", *([cache] if cache.is_absolute() else [])]
    if os.environ.get("NUMBA_CACHE_DIR") or any(_can_be_written(place) for place in places):
        return
    with contextlib.suppress(FileNotFoundError):  # not even a temporary folder
        if folder := _own_temporary_folder():
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            if "numba" in sys.modules:  # imported before by the file of a compiled step
                sys.modules["numba"].config.reload_config()


_keep_somewhere()
_newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
for _index in (Path(__file__).parent / "__pycache__").glob("*.nbi"):
    with contextlib.suppress(OSError):  # another process was faster, or it is not ours
        if _index.stat().st_mtime < _newest:
            _index.unlink()
