"""Answers that are given again as long as what they rest on is the same.

The key of an answer holds the org, the state of its data and the program that made it. A write
therefore makes all answers from before unreachable at once, and nobody reaches another org's. What
was read before a commit and kept after it is found by those only who had asked before it, too.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from liftos_kit.core.errors import DomainError, InvalidFieldsError, RateMissingError
from liftos_memory.cache_ports import OrgState, OrgStates
from liftos_memory.usecases.cache import MAXIMUM_SHARED_VALUE_BYTES, Cache

_KEPT_SECONDS: Final = 60 * 60.0
_KEPT_SEARCH_SECONDS: Final = 5 * 60.0
"""An index that was lost is filled again without anybody being told."""
_KEPT_REFUSALS: Final = 1_024
_LONGEST_WAIT_SECONDS: Final = 1.0
"""For the stream of another caller, who may read slowly."""
_LENGTH_BYTES: Final = 4

_LASTING: Final = (InvalidFieldsError, RateMissingError)
"""Refusals that hold for as long as the org's data does."""

Compute = Callable[[], Awaitable["Answer"]]
Produce = Callable[[], AsyncGenerator[bytes, None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as bytes, and whether it may be given again."""

    data: bytes
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer is to.

    Attributes:
        org: The org.
        digest: Of the method and all of the request that decides the answer.
        of_index: Whether the answer rests on the search index too.
    """

    org: str
    digest: bytes
    of_index: bool = False

    @property
    def kept_seconds(self) -> float:
        """How long an answer may be given again at most."""
        return _KEPT_SEARCH_SECONDS if self.of_index else _KEPT_SECONDS


@dataclass(slots=True, eq=False)
class _Flight:
    task: asyncio.Task[bytes]
    waiting: int = 0


class Answers:
    """Gives answers from the cache, or has them computed: once for all who ask at the same time.

    Args:
        cache: Where they are kept.
        states: What they rest on.
        program: Stands for the code that computes them, and for all else that is the same for every
            org, such as the model of the search index.
    """

    def __init__(self, cache: Cache, states: OrgStates, *, program: str) -> None:
        self._cache = cache
        self._states = states
        self._program = program
        self._flights: dict[str, _Flight] = {}
        self._streams: dict[str, asyncio.Future[bytes | None]] = {}
        self._refusals: OrderedDict[str, DomainError] = OrderedDict()

    async def get(self, question: Question, compute: Compute) -> bytes:
        """Return the answer to a question.

        Raises:
            DomainError: What `compute` raises.
        """
        key = await self._key(question)
        if key is None:
            return (await compute()).data
        self._refuse_again(key)
        value = self._cache.get_here(key, owner=question.org)
        if value is not None:
            return value
        flight = self._flights.get(key)
        leads = flight is None
        if flight is None:
            flight = self._flights[key] = _Flight(
                asyncio.create_task(self._find(key, question, compute))
            )
            flight.task.add_done_callback(lambda task: self._land(key, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        except Exception as error:
            if leads or isinstance(error, _LASTING):
                raise
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                # Nobody wants it any more.
                self._land(key, flight.task)
                flight.task.cancel()
        # The caller who led may have had less time, or been unlucky.
        return (await compute()).data

    async def stream(self, question: Question, produce: Produce) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of an answer, as they are produced or as they were.

        A large answer is passed on and not kept. Callers who come together wait for the first one a
        little, and otherwise produce on their own.
        """
        key = await self._key(question)
        if key is None:
            async with aclosing(produce()) as pieces:
                async for piece in pieces:
                    yield piece
            return
        self._refuse_again(key)
        value = self._cache.get_here(key, owner=question.org)
        if value is None:
            value = await self._cache.get_shared(
                key, owner=question.org, seconds=question.kept_seconds
            )
        if value is None and (other := self._streams.get(key)) is not None:
            value = await _wait_for(other)
        if value is not None:
            for piece in _pieces(value):
                yield piece
            return
        async with aclosing(self._record(key, question, produce)) as recorded:
            async for piece in recorded:
                yield piece

    async def _record(
        self, key: str, question: Question, produce: Produce
    ) -> AsyncGenerator[bytes, None]:
        outcome: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._streams.setdefault(key, outcome)
        kept: bytearray | None = bytearray()
        try:
            async with aclosing(produce()) as pieces:
                async for piece in pieces:
                    if kept is not None:
                        kept += len(piece).to_bytes(_LENGTH_BYTES, "big") + piece
                        if len(kept) > MAXIMUM_SHARED_VALUE_BYTES:
                            kept = None
                            outcome.set_result(None)
                    yield piece
            if kept is not None:
                value = bytes(kept)
                self._cache.put(key, value, owner=question.org, seconds=question.kept_seconds)
                outcome.set_result(value)
        except DomainError as error:
            self._remember_refusal(key, error)
            raise
        finally:
            if not outcome.done():
                outcome.set_result(None)
            if self._streams.get(key) is outcome:
                del self._streams[key]

    async def _find(self, key: str, question: Question, compute: Compute) -> bytes:
        owner, seconds = question.org, question.kept_seconds
        value = await self._cache.get_shared(key, owner=owner, seconds=seconds)
        if value is not None:
            return value
        try:
            answer = await compute()
        except DomainError as error:
            self._remember_refusal(key, error)
            raise
        if answer.keep:
            self._cache.put(key, answer.data, owner=owner, seconds=seconds)
        return answer.data

    async def _key(self, question: Question) -> str | None:
        """Return where an answer is kept; None where it may not be."""
        if self._cache.is_off:
            return None
        state = await self._states.read(question.org)
        if question.of_index and state.index_waits:
            return None
        parts = _parts(question, state, self._program)
        return f"{question.org}:{hashlib.blake2b(parts, digest_size=20).hexdigest()}"

    def _land(self, key: str, task: asyncio.Task[bytes]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]
        if task.done() and not task.cancelled():
            # Whoever waited has the error; all may have gone meanwhile.
            task.exception()

    def _remember_refusal(self, key: str, error: DomainError) -> None:
        if isinstance(error, _LASTING):
            self._refusals[key] = _afresh(error)
            if len(self._refusals) > _KEPT_REFUSALS:
                self._refusals.popitem(last=False)

    def _refuse_again(self, key: str) -> None:
        error = self._refusals.get(key)
        if error is not None:
            raise _afresh(error)


def _afresh(error: DomainError) -> DomainError:
    """Return an equal error that was never raised: a traceback keeps all that its calls held."""
    fresh = type(error).__new__(type(error), *error.args)
    vars(fresh).update(vars(error))
    return fresh


def _parts(question: Question, state: OrgState, program: str) -> bytes:
    index = f"{state.index_revision}" if question.of_index else ""
    texts = (question.org, program, f"{state.version}", f"{state.commit_time}", index)
    # Lengths keep ("ab", "c") and ("a", "bc") apart.
    return b"".join(
        len(part).to_bytes(_LENGTH_BYTES, "big") + part
        for part in (*(text.encode() for text in texts), question.digest)
    )


async def _wait_for(outcome: asyncio.Future[bytes | None]) -> bytes | None:
    done, _ = await asyncio.wait({outcome}, timeout=_LONGEST_WAIT_SECONDS)
    return outcome.result() if done else None


def _pieces(value: bytes) -> list[bytes]:
    pieces = []
    place = 0
    while place < len(value):
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(value[place:start], "big")
        pieces.append(value[start:place])
    return pieces
