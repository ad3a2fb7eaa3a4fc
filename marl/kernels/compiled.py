"""Functions are compiled here and kept on disk where that can be: a cache that cannot be used costs time, never a run."""

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any

import numba
from numba.core.caching import FunctionCache, NullCache

log = logging.getLogger(__name__)
_said = False


def cached_njit(*signatures: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compiles as numba's `njit(*signatures, cache=True, **options)`, without a cache where that one would raise."""

    def decorate(function: Callable[..., Any]) -> Any:
        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            return function
        compiled = numba.njit(**options)(function)
        compiled._cache = _cache_of(function)
        for signature in signatures:
            compiled.compile(signature)
        compiled.disable_compile(bool(signatures))
        return compiled

    return decorate


class _Cache(FunctionCache):
    """This is numba's cache of one function, without its errors: what cannot be read or kept is compiled anew."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged file can lead to any
            self._let_go()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            self._let_go()
            _say(f"{self.cache_path}: {getattr(error, 'strerror', None) or error}")

    def _let_go(self) -> None:
        """Removes the index: it is damaged, or names code of an earlier version as if it were of this one."""
        with contextlib.suppress(OSError, AttributeError):
            os.unlink(self._cache_file._index_path)


def _cache_of(function: Callable[..., Any]) -> Any:
    try:
        return _Cache(function)
    except (RuntimeError, OSError) as error:  # numba knows no place that can be written, or cannot look at the file
        _say(str(error))
        return NullCache()


def _say(why: str) -> None:
    """Says it once: what holds for one function holds for the next."""
    global _said
    if not _said:
        _said = True
        log.warning(
            "compiled code cannot be kept (%s); this start compiles it anew, which takes a minute or two: "
            "name a directory that can be written in NUMBA_CACHE_DIR",
            why,
        )
