"""The client for code without an event loop: a loop in a thread, and one wrapper for everything.

The thread may be used beside a running loop, as notebooks have one.
"""

import asyncio
import functools
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from liftos_client.connection import Client, TlsOptions, Token, connect
from liftos_client.pages import Pages

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_END: Final = object()


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="liftos-client", daemon=True
        )
        self._thread.start()

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return not self._thread.is_alive()

    def run(self, awaitable: Awaitable[_Result]) -> _Result:
        """Wait for something that runs in the loop, and return its result.

        Raises:
            RuntimeError: Called from the loop itself, or after `close`.
        """
        if threading.current_thread() is self._thread or self.closed:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise RuntimeError("the client is closed, or called from its own thread")
        future = asyncio.run_coroutine_threadsafe(_wait_for(awaitable), self._loop)
        try:
            return future.result()
        except BaseException:
            # Where the wait was interrupted, the work is given up too.
            future.cancel()
            raise

    def iterate(self, items: AsyncIterable[_Result]) -> Iterator[_Result]:
        """Read something asynchronous as a plain iterator."""
        iterator: Any = aiter(items)
        item: Any
        try:
            while (item := self.run(anext(iterator, _END))) is not _END:
                yield item
        finally:
            if hasattr(iterator, "aclose"):
                self.run(iterator.aclose())

    def close(self) -> None:
        """Stop the loop and its thread; more than once does no harm."""
        if not self.closed:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class Blocking:
    """Something asynchronous, without `async` and `await`.

    Coroutine methods return their results, lists and watches are plain iterators, what was used in
    `async with` is used in `with`. Everything else is as it is.
    """

    __slots__ = ("_loop", "_target")

    def __init__(self, target: object, loop: LoopThread) -> None:
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_loop", loop)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the target has
        return _adapt(getattr(self._target, name), self._loop)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._target, name, value)

    def __dir__(self) -> list[str]:
        return dir(self._target)

    def __repr__(self) -> str:
        return f"<blocking {self._target!r}>"

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self._target, Pages):
            # One hop between threads for each page rather than for each item.
            for page in self._loop.iterate(self._target.pages()):
                yield from self._target.items(page)
        else:
            yield from self._loop.iterate(self._target)

    def __enter__(self) -> Any:  # noqa: ANN401
        entered = self._loop.run(self._target.__aenter__())
        return self if entered is self._target else _adapt(entered, self._loop)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:  # noqa: ANN401
        return self._loop.run(self._target.__aexit__(kind, error, traceback))


class SyncClient:
    """The services of LiftOS Core, for code without an event loop.

    `memory` has every method of `MemoryClient`, `ingestion` every method of `IngestionClient`,
    `migration` every method of `MigrationClient`, without `await`. Type checkers see them as Any;
    `run`, `iterate` and `blocking` are typed: `client.run(client.client.memory.get_entry(name))`.

    Attributes:
        client: The asynchronous client behind it.
        memory: The store of marketing data.
        ingestion: Reads platforms and writes to Memory.
        migration: Moves a module's data to Memory.
        org: The organisation of the token.
    """

    def __init__(self, open_client: Callable[[], Client]) -> None:
        self._loop = LoopThread()

        async def opened() -> Client:
            # A channel belongs to the loop in which it was made.
            return open_client()

        try:
            self.client = self._loop.run(opened())
        except BaseException:
            self._loop.close()
            raise
        self.memory: Any = Blocking(self.client.memory, self._loop)
        self.ingestion: Any = Blocking(self.client.ingestion, self._loop)
        self.migration: Any = Blocking(self.client.migration, self._loop)
        self.org = self.client.org

    def run(self, awaitable: Awaitable[_Result]) -> _Result:
        """Return the result of a call of the asynchronous client."""
        return self._loop.run(awaitable)

    def iterate(self, items: AsyncIterable[_Result]) -> Iterator[_Result]:
        """Read a list or a watch of the asynchronous client."""
        return self._loop.iterate(items)

    def blocking(
        self, function: Callable[_Arguments, Coroutine[Any, Any, _Result]]
    ) -> Callable[_Arguments, _Result]:
        """Return a function that calls a coroutine function and waits for its result."""

        @functools.wraps(function)
        def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            return self._loop.run(function(*args, **kwargs))

        return call

    def close(self) -> None:
        """Close the channels and the thread; more than once does no harm."""
        if not self._loop.closed:
            self._loop.run(self.client.close())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def connect_sync(
    target: str,
    *,
    token: Token,
    ingestion_target: str | None = None,
    migration_target: str | None = None,
    tls: TlsOptions | None = None,
    timeout_seconds: float | None = None,
) -> SyncClient:
    """Return a client for code without an event loop; see `connect`.

    Raises:
        TokenInvalidError: The token does not name an organisation.
    """
    return SyncClient(
        lambda: connect(
            target,
            token=token,
            ingestion_target=ingestion_target,
            migration_target=migration_target,
            tls=tls,
            timeout_seconds=timeout_seconds,
        )
    )


async def _wait_for(awaitable: Awaitable[_Result]) -> _Result:
    return await awaitable


def _adapt(value: Any, loop: LoopThread) -> Any:  # noqa: ANN401
    if hasattr(value, "__aiter__") or hasattr(value, "__aenter__"):
        return Blocking(value, loop)
    if not callable(value):
        return value

    async def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        result = value(*args, **kwargs)
        return await result if isinstance(result, Awaitable) else result

    @functools.wraps(value)
    def blocking(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return _adapt(loop.run(call(*args, **kwargs)), loop)

    return blocking
