"""How much of what platforms answer a worker has in hand at a time, by bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """Bytes that those who share it have in hand together, first come, first served.

    Who asks for more than there is gets all of it, once nobody else has any.

    Args:
        size_bytes: How many there are.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._free_bytes = size_bytes
        self._turn = asyncio.Lock()
        self._returned = asyncio.Event()

    @asynccontextmanager
    async def take(self, size_bytes: int) -> AsyncIterator[None]:
        """Have so many in hand inside; wait until they are free."""
        taken = min(size_bytes, self._size_bytes)
        async with self._turn:
            while self._free_bytes < taken:
                self._returned.clear()
                await self._returned.wait()
            self._free_bytes -= taken
        try:
            yield
        finally:
            self._free_bytes += taken
            self._returned.set()
