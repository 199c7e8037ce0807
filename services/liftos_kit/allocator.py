"""How the process takes memory from the system, and gives it back."""

import ctypes
import sys
from typing import Final

import pyarrow as pa

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8

_LARGE_BYTES: Final = 64 * 1024
_ARENAS: Final = 2


def return_large_blocks() -> None:
    """Return each block of 64 KiB and more to the system as soon as it is free.

    Batches of rows are built and dropped in several threads. By default their columns stay behind
    in arenas per thread and in Arrow's pool, and the process holds three times what it needs. To
    be called before any thread starts. Other C libraries than glibc are left as they are.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _LARGE_BYTES)
        mallopt(_ARENA_MAX, _ARENAS)
