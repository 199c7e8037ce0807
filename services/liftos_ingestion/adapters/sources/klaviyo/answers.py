"""Answers that slices of one run take from one another, so that nothing is asked for twice.

The levels of an account ask for the same account, metrics, lists and reports; a level is what is
made of them. A worker keeps an answer for a few minutes, in a bounded space; whoever finds none
asks Klaviyo, so that each slice can be read alone, by any worker, at any time. Nothing is shared
between runs or credentials, and no slice is given anew what it has had already: one that is tried
again, whatever was wrong, gets other answers.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, final
from weakref import WeakValueDictionary

from liftos_ingestion.adapters.sources.platform_http import Answer

_SECONDS: Final = 600.0
"""How long an answer is kept: about as long as the reports of an account wait for one another."""

_MOST_BYTES: Final = 16 * 1024 * 1024
"""Space for the answers of a worker, as they came."""

_HEADER_BYTES: Final = 2048
"""What an answer takes beside its body."""


@dataclass(slots=True)
class _Kept:
    """An answer, unparsed.

    Attributes:
        end_seconds: When it is too old, by `time.monotonic`.
        takers: Who has had it: the try of each slice.
    """

    answer: Answer
    end_seconds: float
    takers: dict[str, object] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return len(self.answer.body) + _HEADER_BYTES


@final
class SharedAnswers:
    """The answers that a worker has of late.

    Args:
        most_bytes: Space for them; the oldest make room for new ones.
        seconds: How long one is kept.
    """

    def __init__(self, *, most_bytes: int = _MOST_BYTES, seconds: float = _SECONDS) -> None:
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._kept: dict[str, _Kept] = {}
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(
        self, question: str, taker: str, attempt: object, ask: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Return the answer to a question; one who asks at the same time waits for the other.

        Args:
            question: With whose it is: its run and credential.
            taker: What is read with it, the same at each try.
            attempt: The try.
            ask: Asks Klaviyo.

        Raises:
            NotReadyError, ReadingError: As asking does.
        """
        async with self._asking.setdefault(question, asyncio.Lock()):
            kept = self._kept.get(question)
            if (
                kept is not None
                and time.monotonic() < kept.end_seconds
                and kept.takers.setdefault(taker, attempt) is attempt
            ):
                return replace(kept.answer, data=json.loads(kept.answer.body))
            answer = await ask()
            self._keep(question, answer, {taker: attempt})
            return answer

    def forget(self, attempt: object) -> None:
        """Forget all that a try has had, since something in it may be wrong."""
        self._kept = {
            question: kept
            for question, kept in self._kept.items()
            if attempt not in kept.takers.values()
        }

    def _keep(self, question: str, answer: Answer, takers: dict[str, object]) -> None:
        self._kept.pop(question, None)
        now = time.monotonic()
        # Parsed it would take many times the space.
        kept = _Kept(replace(answer, data=None), now + self._seconds, takers)
        size_bytes = kept.size_bytes
        if answer.data is None or size_bytes > self._most_bytes:
            return
        rest: dict[str, _Kept] = {}
        for asked, other in reversed(self._kept.items()):
            size_bytes += other.size_bytes
            if now < other.end_seconds and size_bytes <= self._most_bytes:
                rest[asked] = other
        self._kept = dict(reversed(rest.items()))
        self._kept[question] = kept


@final
class AnswersOfSession:
    """What one session shares with the others of its run.

    Args:
        shared: The worker's answers.
        run: Whose slices share; where it is empty, nothing is shared.
        credential: Of the session, as a digest.
    """

    def __init__(self, shared: SharedAnswers, *, run: str, credential: str) -> None:
        self._shared = shared
        self._run = run
        self._credential = credential

    async def take(
        self, taker: str, *question: object, ask: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Return the answer to a question, as a run that shares has it.

        Raises:
            NotReadyError, ReadingError: As asking does.
        """
        if not self._run:
            return await ask()
        whole = json.dumps([self._run, self._credential, *question], sort_keys=True)
        return await self._shared.take(hashlib.sha256(whole.encode()).hexdigest(), taker, self, ask)

    def forget(self) -> None:
        """Forget all that this session has had, since something in it may be wrong."""
        self._shared.forget(self)
