"""The kernels, compiled at first use and kept on disk for the next process."""

import hashlib
import inspect
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

log = logging.getLogger(__name__)

# Numba notices when the file of a kernel changes, but not when the files that it calls do.
PYTHON = ("__init__.py", "arena.py", "engine.py")  # are not compiled
HERE = Path(__file__).parent
SOURCES = [*sorted(file for file in HERE.glob("*.py") if file.name not in PYTHON), HERE.parent / "equations.py"]
ONCE = "compiling kernels for this processor, once; it can take a minute"
ALWAYS = "compiling kernels, as every process must: no cache folder can be written; NUMBA_CACHE_DIR names one"
VERSION = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()


# No kernel allocates. With its runtime, Numba would count who holds an array at every name that it is given. The option
# is Numba's own, of long standing; a stage that returns an array may be called by kernels alone, which count nothing.
UNCOUNTED: dict[str, Any] = {"_nrt": False}


def stage(function: Callable[..., Any]) -> Any:
    """A function that is compiled into the kernels that call it, without what tests wrap around it to check shapes.

    Forced into them: a call with the hundred numbers that describe arrays takes as long as some stages.
    """
    return njit(inspect.unwrap(function), forceinline=True, **UNCOUNTED)


def kernel(function: Callable[..., None]) -> Any:
    """Compile at the first call, or load what an earlier process compiled; run without the interpreter's lock."""
    function = inspect.unwrap(function)
    # As numpy divides: a check for 0 would keep a loop from being made of vectors.
    compiled: Any = njit(nogil=True, error_model="numpy", **UNCOUNTED)(function)
    compiled._cache = Cache(function)
    return compiled


class Cache(NullCache):
    """Numba's own cache, which knows all source files, says when it compiles, and never stops a run.

    It is beside this file, or in the user's cache folder where that cannot be written. Without either, and where it
    is broken, every process compiles for itself.
    """

    seconds = 0.0  # that this process has spent on compiling, all kernels together
    said = False

    def __init__(self, function: Callable[..., None]):
        self.name = function.__name__
        self.files: FunctionCache | None = None
        try:
            files = FunctionCache(function)
        except RuntimeError:  # no folder can be written
            return
        files._cache_file = IndexDataCacheFile(files.cache_path, files._impl.filename_base, source_stamp=VERSION)
        self.files = files

    @property
    def cache_path(self) -> str | None:
        return self.files.cache_path if self.files else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            data = self.files.load_overload(sig, target_context) if self.files else None
        except Exception as error:  # an unreadable or half-written file may raise anything
            log.warning(f"cannot load {self.name} from {self.cache_path}: {error}")
            data = None
        if data is None:
            if not Cache.said:
                log.info(ONCE if self.files else ALWAYS)
                Cache.said = True
            self.started = time.perf_counter()
        return data

    def save_overload(self, sig: Any, data: Any) -> None:
        Cache.seconds += time.perf_counter() - self.started
        try:
            if self.files:
                self.files.save_overload(sig, data)
        except OSError as error:
            log.warning(f"cannot keep {self.name} in {self.cache_path}: {error}")
