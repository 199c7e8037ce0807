"""Judged collections as files: documents, queries, and which document answers which query.

Three files as evaluation tools write them: documents as JSON lines with `_id`, `text` and maybe
`title`; queries as lines of id, tab, text; judgements as TREC has them, lines of query, a word that
means nothing, document, and relevance. What is wrong with a line is told with its number.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from liftos_cli.errors import CommandError

MAXIMUM_QUERY_CHARACTERS: Final = 10_000

_JUDGEMENT_COLUMNS: Final = 4


@dataclass(frozen=True, slots=True)
class ForeignDocument:
    """A document as the file has it; the title may be empty."""

    document_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A judged collection.

    Attributes:
        documents: What is searched, in the order of the file.
        queries: Texts of the queries that are judged, by id. A judged query has a document that
            answers it.
        judgements: Relevance by document, for each of those queries; above 0 answers.
        unjudged_query_count: Queries that no document answers, as far as was judged; they tell
            nothing and are not asked.
        unasked_query_count: Queries that are judged and not in the file of queries.
    """

    documents: Sequence[ForeignDocument]
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]
    unjudged_query_count: int
    unasked_query_count: int


def read_collection(documents: Path, queries: Path, judgements: Path) -> Collection:
    """Read the three files.

    Raises:
        CommandError: A file cannot be read, or a line of it is wrong.
    """
    found = _documents(documents)
    texts = _queries(queries)
    judged = _judgements(judgements, {each.document_id for each in found}, texts.keys())
    answered = {
        query: relevance
        for query, relevance in judged.items()
        if query in texts and max(relevance.values()) > 0
    }
    if not answered:
        raise CommandError(
            f"no query of {queries} has a document that answers it in {judgements}",
            advice="look whether both files are of the same collection",
        )
    return Collection(
        found,
        {query: text for query, text in texts.items() if query in answered},
        answered,
        unjudged_query_count=len(texts) - len(answered),
        unasked_query_count=len(judged.keys() - texts.keys()),
    )


def _documents(path: Path) -> list[ForeignDocument]:
    documents: dict[str, ForeignDocument] = {}
    for number, line in _lines(path):
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise _wrong(path, number, f"is no JSON ({error})", _DOCUMENT) from None
        if not isinstance(fields, dict):
            raise _wrong(path, number, "is no JSON object", _DOCUMENT)
        own = fields.get("_id")
        if isinstance(own, bool) or not isinstance(own, str | int) or own == "":
            raise _wrong(path, number, "has no _id", _DOCUMENT)
        text, title = fields.get("text"), fields.get("title") or ""
        if not isinstance(text, str) or not isinstance(title, str):
            raise _wrong(path, number, "has no text", _DOCUMENT)
        document_id = str(own)
        if document_id in documents:
            raise _wrong(path, number, f"has the _id {document_id!r} again", "give each once")
        documents[document_id] = ForeignDocument(document_id, " ".join(title.split()), text)
    if not documents:
        raise CommandError(f"{path} has no documents", advice=_DOCUMENT)
    return list(documents.values())


def _queries(path: Path) -> dict[str, str]:
    queries: dict[str, str] = {}
    for number, line in _lines(path):
        query, tab, text = line.partition("\t")
        query, text = query.strip(), text.strip()
        if not tab or not query or not text:
            raise _wrong(path, number, "is no query", _QUERY)
        if len(text) > MAXIMUM_QUERY_CHARACTERS:
            characters = f"has {len(text):,} characters"
            raise _wrong(path, number, characters, f"ask with {MAXIMUM_QUERY_CHARACTERS:,} at most")
        if query in queries:
            raise _wrong(path, number, f"has the query {query!r} again", "give each once")
        queries[query] = text
    if not queries:
        raise CommandError(f"{path} has no queries", advice=_QUERY)
    return queries


def _judgements(
    path: Path, documents: AbstractSet[str], queries: AbstractSet[str]
) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        columns = line.split()
        if len(columns) != _JUDGEMENT_COLUMNS:
            raise _wrong(path, number, f"has {len(columns)} columns instead of 4", _JUDGEMENT)
        query, _, document, said = columns
        try:
            relevance = int(said)
        except ValueError:
            raise _wrong(path, number, f"has the relevance {said!r}", _JUDGEMENT) from None
        if query in queries and document not in documents:
            raise _wrong(
                path,
                number,
                f"judges the document {document!r}, which is not there",
                "add the document, or take the line out",
            )
        before = judged.setdefault(query, {}).setdefault(document, relevance)
        if before != relevance:
            raise _wrong(
                path,
                number,
                f"judges document {document!r} for query {query!r} {relevance}, and an earlier"
                f" line {before}",
                "keep one of them",
            )
    if not judged:
        raise CommandError(f"{path} has no judgements", advice=_JUDGEMENT)
    return judged


_DOCUMENT: Final = 'write a line for each, such as {"_id": "d1", "text": "Winter boots"}'
_QUERY: Final = "write a line for each: its id, a tab, its text"
_JUDGEMENT: Final = (
    "write a line for each: query, 0, document and relevance, a whole number, such as `q1 0 d1 1`"
)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold something, with their numbers from 1."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read ({error.strerror})", advice="name a file that exists"
        ) from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8", advice="convert it to UTF-8") from None


def _wrong(path: Path, number: int, what: str, advice: str) -> CommandError:
    return CommandError(f"line {number:,} of {path} {what}", advice=advice)
