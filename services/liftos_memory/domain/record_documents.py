"""Documents of records: how artifacts and notes become texts that search finds.

A record's text is its title and what a person can read of it. The model reads the beginning of it;
the lexical leg matches all of it, with the record's id, scope and labels. A text larger than an
index takes is cut, and its last line says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from liftos_mapping.record_digests import JsonObject
from liftos_memory.domain.documents import Document, DocumentKind, ObjectKey, content_hash
from liftos_memory.domain.lexical import lexical_text, tokenize
from liftos_memory.domain.records import ARTIFACT_KINDS

MAXIMUM_BYTES: Final = 60_000
"""Most bytes of a text, and of its terms; an index takes 65 535 of each."""

_TITLE_CHARACTERS: Final = 100
_VALUE_CHARACTERS: Final = 500
_BODY_CHARACTERS: Final = 50_000
_DEEPEST: Final = 8


def record_document_id(kind: DocumentKind, record_id: str) -> str:
    """Return the id of a record's document, such as `note-weekly-review`."""
    return f"{kind.value.lower()}-{record_id}"


def record_document(
    kind: DocumentKind,
    record: str,
    *,
    scope: str,
    title: str,
    text: str,
    start_date: date,
    end_date: date,
    words: Sequence[str] = (),
    key: ObjectKey | None = None,
    quality_score: float | None = None,
) -> Document:
    """Write the document of a record.

    Args:
        kind: What the record is.
        record: Its collection and id, such as `notes/weekly-review`.
        scope: Module or context that it belongs to; empty where it has none.
        title: One line; empty takes the beginning of the text.
        text: What is said.
        start_date: First day that it is about.
        end_date: Last day that it is about.
        words: What else finds it.
        key: The object that it is about; one without an id of its own stands for a platform.
        quality_score: Lowest quality of what it rests on, 0 to 1; None where it rests on none.
    """
    record_id = record.rpartition("/")[2]
    title = " ".join(title.split())
    extra = "\n".join((record_id, scope, *words))[: MAXIMUM_BYTES // 8]
    searched, terms = _bounded(f"{title}\n{text}" if title else text, lexical_text(extra))
    return Document(
        document_id=record_document_id(kind, record_id),
        kind=kind,
        key=key,
        week_start=None,
        start_date=start_date,
        end_date=end_date,
        title=title or _beginning(text) or record_id,
        text=searched,
        lexical_text=terms,
        # A record that moves to another scope is another document, though it says the same.
        content_hash=content_hash(f"{scope}\n{terms}\n{searched}"),
        quality_score=quality_score,
        scope=scope,
        record=record,
    )


def note_document(
    record_id: str,
    *,
    scope: str,
    title: str,
    text: str,
    labels: Sequence[str],
    attributes: JsonObject | None,
    start_date: date,
    end_date: date,
) -> Document:
    """Write the document of a note: its text, found by its labels and attributes as well."""
    return record_document(
        DocumentKind.NOTE,
        f"notes/{record_id}",
        scope=scope,
        title=title,
        text=text,
        start_date=start_date,
        end_date=end_date,
        words=(*labels, *_readable(attributes or {})),
    )


def artifact_document(
    record_id: str,
    *,
    scope: str,
    kind: int,
    display_name: str,
    body: JsonObject | None,
    start_date: date,
    end_date: date,
) -> Document:
    """Write the document of an artifact: kind and name, then what its body says in words.

    Args:
        record_id: Its id below the collection.
        scope: Module or purpose that it belongs to.
        kind: Number of its kind in the contract.
        display_name: What people call it.
        body: Its structured part.
        start_date: Day of its first version.
        end_date: Day of its newest version.
    """
    what = ARTIFACT_KINDS[kind - 1].replace("_", " ").capitalize()
    name = " ".join(display_name.split()) or record_id
    return record_document(
        DocumentKind.ARTIFACT,
        f"artifacts/{record_id}",
        scope=scope,
        title=f"{what} “{name}” of {scope}",
        text="\n".join(_readable(body or {})),
        start_date=start_date,
        end_date=end_date,
    )


def _readable(body: JsonObject) -> list[str]:
    """Return lines `path: value` of a body in the order of its keys, as far as they are read."""
    lines: list[str] = []
    characters = 0
    for line in _lines(body, (), _DEEPEST):
        characters += len(line) + 1
        if characters > _BODY_CHARACTERS:
            lines.append("[The body goes on; what follows is not searched.]")
            break
        lines.append(line)
    return lines


def _lines(value: object, path: tuple[str, ...], depth: int) -> Iterator[str]:
    name = " ".join(path)
    match value:
        case Mapping() if depth:
            for key in sorted(value):
                yield from _lines(value[key], (*path, str(key)), depth - 1)
        case list() | tuple() if value and not any(isinstance(e, Mapping | list) for e in value):
            yield f"{name}: {', '.join(_words(each) for each in value)}"[:_VALUE_CHARACTERS]
        case list() | tuple() if depth:
            for each in value:
                yield from _lines(each, path, depth - 1)
        case Mapping() | list() | tuple():
            yield f"{name}: [deeper than what is searched]"
        case None | "":
            return
        case _:
            yield f"{name}: {_words(value)}"


def _words(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float() if value.is_integer():
            return str(int(value))
        case float():
            return f"{value:.6g}"
        case _:
            text = " ".join(str(value).split())
            return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"


def _beginning(text: str) -> str:
    line = " ".join(text[: 4 * _TITLE_CHARACTERS].split())
    if len(line) <= _TITLE_CHARACTERS:
        return line
    return f"{line[:_TITLE_CHARACTERS].rpartition(' ')[0] or line[:_TITLE_CHARACTERS]}…"


def _bounded(text: str, extra_terms: str) -> tuple[str, str]:
    """Return text and terms as far as an index takes them."""
    terms = lexical_text(text)
    if len(text.encode()) <= MAXIMUM_BYTES and len(terms) + len(extra_terms) < MAXIMUM_BYTES:
        return text, f"{terms} {extra_terms}".strip()
    kept: list[str] = []
    text_bytes, end = 0, 0
    term_bytes = len(extra_terms) + 1
    for token in tokenize(text):
        text_bytes += len(text[end : token.end].encode())
        term_bytes += sum(len(term) + 1 for term in token.terms)
        if text_bytes > MAXIMUM_BYTES or term_bytes > MAXIMUM_BYTES:
            break
        end = token.end
        kept += token.terms
    notice = f"\n[Cut: the first {end:,} of {len(text):,} characters are searched.]"
    return text[:end] + notice, f"{' '.join(kept)} {extra_terms}".strip()
