"""Memory that batches took goes back to the system."""

import subprocess
import sys

_KEEP_NOTHING = """
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pyarrow as pa
from liftos_kit.allocator import return_large_blocks

if sys.argv[1] == "return":
    return_large_blocks()


def batch(_: int) -> None:
    columns = []
    for _ in range(50):
        columns.append(pa.array(range(20_000)).cast(pa.string()))
        columns.append(bytes(100_000))


before = psutil.Process().memory_info().rss
with ThreadPoolExecutor(8) as threads:
    list(threads.map(batch, range(8)))
print(psutil.Process().memory_info().rss - before)
"""


def _kept_bytes(how: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", _KEEP_NOTHING, how], check=True, capture_output=True, text=True
    )
    return int(ran.stdout)


def test_freed_columns_go_back_to_the_system() -> None:
    """Several threads that build and drop columns leave little behind."""
    assert _kept_bytes("return") < _kept_bytes("leave") / 2
