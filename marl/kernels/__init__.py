"""These are compiled loops on plain arrays. Nothing here knows the rest of the library.

Compiled code is kept beside these files or in the user's cache; where neither can be written, in a temporary folder. numba
compiles a function anew when its own file has changed, but not when a function that it calls has: what was compiled
before the newest of these files is let go, where it is kept beside them.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

if not any(os.access(place, os.W_OK) for place in (Path(__file__).parent, Path.home())):
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"marl-numba-{os.getuid()}"))
    if "numba" in sys.modules:  # imported before by the file of a compiled step
        sys.modules["numba"].config.reload_config()

_newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
for _index in (Path(__file__).parent / "__pycache__").glob("*.nbi"):
    with contextlib.suppress(OSError):  # another process was faster, or it is not ours
        if _index.stat().st_mtime < _newest:
            _index.unlink()
