"""A judged collection on a running service: written, indexed, searched and taken away again.

Documents become notes of a scope of their own and go the way of any note: the worker embeds them,
`SearchDocuments` finds them. Nothing is measured beside the service.
"""

import asyncio
import secrets
import string
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from liftos.memory.v1.artifact_pb2 import Note
from liftos.memory.v1.document_pb2 import SEARCH_MODE_NEURAL
from liftos.memory.v1.memory_service_pb2 import SearchDocumentsResponse
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.output import say
from liftos_cli.relevance.collection import Collection, ForeignDocument
from liftos_cli.relevance.leftovers import origin_of
from liftos_cli.relevance.measures import DEPTH
from liftos_client.errors import (
    DeadlineExceededError,
    FieldInvalidError,
    LiftosError,
    ReadNotFreshError,
)
from liftos_client.memory import MemoryClient

MAXIMUM_TEXT_CHARACTERS: Final = 20_000
"""Most of a note; what a document has beyond it is not searched."""

_TITLE_CHARACTERS: Final = 200
_NOTES_AT_ONCE: Final = 200
_CHARACTERS_AT_ONCE: Final = 2_000_000
_QUERIES_AT_ONCE: Final = 4
_WAIT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 300.0
_LETTERS: Final = string.ascii_lowercase

StepProgress = Callable[[int], None]
"""Called with how many more are done."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Who hears how far each step is: documents written, documents indexed, queries asked."""

    written: StepProgress
    indexed: StepProgress
    asked: StepProgress


@dataclass(slots=True)
class JudgedRun:
    """One run.

    Attributes:
        memory: The service.
        org: The organisation of the token.
        collection: What is measured with.
        mode: The mode that is measured.
        progress: Hears how far it is.
        name: The scope of the notes, and the beginning of their ids: one word of letters, so that
            no query has it.
        empty_document_count: Documents that say nothing; they cannot be found.
        cut_document_count: Documents that are longer than a note.
        unanswered_query_count: Queries that found nothing.
    """

    memory: MemoryClient
    org: str
    collection: Collection
    mode: str
    progress: Progress
    name: str = field(
        default_factory=lambda: "judged" + "".join(secrets.choice(_LETTERS) for _ in range(10))
    )
    empty_document_count: int = 0
    cut_document_count: int = 0
    unanswered_query_count: int = 0
    _document_ids: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What the notes are written as, and purged by."""
        return origin_of(self.name)

    async def rankings(self) -> Mapping[str, Sequence[str]]:
        """Return the documents that the service gives to each query, best first.

        Whatever happens meanwhile, the notes are deleted again.

        Raises:
            CommandError: The worker does not follow, or a leg of the mode fails.
            LiftosError: The service refused something.
        """
        try:
            tokens = await self._write()
            for count, token in tokens:
                await self._wait(token)
                self.progress.indexed(count)
            rankings = await self._ask_all()
        except BaseException:
            # Also when a person has had enough.
            await self._purge()
            raise
        token = await self._purge()
        if token:
            await self._wait(token)
        return rankings

    async def _write(self) -> list[tuple[int, str]]:
        """Write all documents; return the sizes and the write tokens of the batches."""
        notes = [
            note
            for number, document in enumerate(self.collection.documents)
            if (note := self._note(number, document)) is not None
        ]
        tokens = []
        for batch in _batches(notes):
            answer = await self.memory.batch_upsert_notes(batch, origin=self.origin)
            tokens.append((len(batch), answer.write_token))
            self.progress.written(len(batch))
        return tokens

    def _note(self, number: int, document: ForeignDocument) -> Note | None:
        title, text = document.title, document.text
        if len(title) > _TITLE_CHARACTERS or not text.strip():
            title, text = "", f"{title}\n{text}"
        if not text.strip():
            self.empty_document_count += 1
            return None
        if len(text) > MAXIMUM_TEXT_CHARACTERS:
            self.cut_document_count += 1
        note_id = self.name + _in_letters(number)
        self._document_ids[note_id] = document.document_id
        return Note(
            name=f"orgs/{self.org}/notes/{note_id}",
            scope=self.name,
            title=title,
            text=text[:MAXIMUM_TEXT_CHARACTERS],
        )

    async def _wait(self, token: str) -> None:
        """Return once the index has a write.

        Raises:
            CommandError: It does not get there, and stands still.
        """
        until = time.monotonic() + _SILENCE_SECONDS
        while True:
            try:
                await self._search(
                    self.name,
                    mode="LEXICAL",
                    page_size=1,
                    at_least_as_fresh=token,
                    timeout_seconds=_WAIT_SECONDS,
                )
            except (ReadNotFreshError, DeadlineExceededError):
                if time.monotonic() > until:
                    raise CommandError(
                        f"the search index did not follow for {_SILENCE_SECONDS:.0f} s",
                        advice="see whether the worker runs: `liftos status`, `liftos doctor`",
                        exit_code=ExitCode.UNREACHABLE,
                    ) from None
            else:
                return

    async def _search(self, query: str, **options: Any) -> SearchDocumentsResponse:  # noqa: ANN401
        pages = self.memory.search_documents(
            query, kinds=["NOTE"], filter=f'scope = "{self.name}"', **options
        )
        return await anext(pages.pages())

    async def _ask_all(self) -> Mapping[str, Sequence[str]]:
        rankings: dict[str, Sequence[str]] = {}
        waiting = iter(self.collection.queries.items())

        async def ask() -> None:
            for query_id, text in waiting:
                rankings[query_id] = await self._ask(text)
                self.progress.asked(1)

        tasks = [asyncio.create_task(ask()) for _ in range(_QUERIES_AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return rankings

    async def _ask(self, query: str) -> list[str]:
        try:
            page = await self._search(query, mode=self.mode, page_size=DEPTH)
        except FieldInvalidError as error:
            # Words that name no dimension cannot be asked by concepts, and are refused.
            if self.mode != "conceptual" or [it.field for it in error.field_violations] != [
                "query"
            ]:
                raise
            self.unanswered_query_count += 1
            return []
        for leg in page.legs:
            # By meaning there always is something that is nearest.
            if leg.mode == SEARCH_MODE_NEURAL and not leg.hit_count:
                raise CommandError(
                    f"the search by meaning failed: it {leg.note or 'found nothing'}",
                    advice="see what is wrong with `liftos doctor`, and run it again",
                    exit_code=ExitCode.UNREACHABLE,
                )
        self.unanswered_query_count += not page.hits
        return [self._document_ids[hit.document.record.rpartition("/")[2]] for hit in page.hits]

    async def _purge(self) -> str:
        """Delete the notes; return the write token of that, empty where it failed."""
        try:
            answer = await self.memory.purge_records("NOTES", self.origin, force=True)
        except LiftosError as error:
            say(
                f"The collection could not be taken away again ({error.message}); delete it with"
                f" `liftos notes purge --origin {self.origin}`."
            )
            return ""
        return answer.write_token if answer.purge_count else ""


def _batches(notes: Sequence[Note]) -> list[list[Note]]:
    """Return the notes in parts that a message takes."""
    batches: list[list[Note]] = []
    characters = 0
    for note in notes:
        size = len(note.text)
        full = not batches or len(batches[-1]) == _NOTES_AT_ONCE
        if full or characters + size > _CHARACTERS_AT_ONCE:
            batches.append([])
            characters = 0
        batches[-1].append(note)
        characters += size
    return batches


def _in_letters(number: int) -> str:
    """Return a number as four letters or more, which are no part of any word."""
    digits = ""
    while number or len(digits) < 4:
        number, digit = divmod(number, len(_LETTERS))
        digits = _LETTERS[digit] + digits
    return digits
