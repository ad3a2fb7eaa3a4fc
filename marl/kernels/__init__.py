"""Compiled loops on plain arrays. Nothing here knows the rest of the library.

Compiled code is kept beside these files or in the user's cache; where neither can be written, in a temporary folder.
"""

import os
import tempfile
from pathlib import Path

if not any(os.access(place, os.W_OK) for place in (Path(__file__).parent, Path.home())):
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"marl-numba-{os.getuid()}"))
