"""Rows as bytes of the wire, in chunks.

The parts of a message may be serialised one by one and joined. A row is the bytes of its subject,
which many rows share, those of its day, and those of its own metrics; a chunk of rows has the same
bytes in an answer of Search and of SearchStream, where `results` is field 1.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from liftos_platforms.google_ads.catalogue import Field, FieldCategory, FieldType
from liftos_platforms.google_ads.messages import Row, StreamResponse
from liftos_platforms.google_ads.metrics import METRICS, Number, Totals
from liftos_platforms.google_ads.plan import Plan
from liftos_platforms.google_ads.predicates import Value
from liftos_platforms.google_ads.rows import Line, Subject

UNKNOWN_ENUM_NUMBER: Final = 999

_RESULTS_TAG: Final = bytes([StreamResponse.DESCRIPTOR.fields_by_name["results"].number << 3 | 2])
# No message of the API uses this field, so that readers skip its bytes: number 536870911, bytes.
_PADDING_TAG: Final = b"\xfa\xff\xff\xff\x0f"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows, serialised as the `results` of an answer.

    Attributes:
        results: The bytes.
        row_count: How many rows they are.
        last_row: The bytes of the last of them.
    """

    results: bytes
    row_count: int
    last_row: bytes


@dataclass(slots=True)
class Rendering:
    """The chunks of one answer, rendered in a thread when they are first asked for, and kept.

    A caller that goes away while a chunk is rendered takes nothing from those who come later.

    Attributes:
        source: Makes the chunks.
        totals: Sums over all rows once all chunks are rendered; None where nobody wants them.
    """

    source: Iterator[Chunk]
    totals: Totals | None
    size_bytes: int = 0
    row_count: int = 0
    is_complete: bool = False
    _chunks: list[Chunk] = field(default_factory=list)
    _error: Exception | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def chunk(self, place: int) -> Chunk | None:
        """Return a chunk, or None behind the last."""
        if place >= len(self._chunks) and not self.is_complete:
            await asyncio.to_thread(self._render_until, place)
        return self._chunks[place] if place < len(self._chunks) else None

    async def complete(self) -> None:
        """Render all chunks."""
        await asyncio.to_thread(self._render_until, sys.maxsize)

    def _render_until(self, place: int) -> None:
        with self._lock:
            while len(self._chunks) <= place and not self.is_complete:
                if self._error is not None:
                    # A broken source looks like one that has ended.
                    raise self._error
                try:
                    chunk = next(self.source, None)
                except Exception as error:
                    self._error = error
                    raise
                if chunk is None:
                    self.is_complete = True
                else:
                    self._chunks.append(chunk)
                    self.size_bytes += len(chunk.results)
                    self.row_count += chunk.row_count


def render(plan: Plan, lines: Iterable[Line], *, chunk_rows: int, totals: bool) -> Rendering:
    """Return the rendering of lines, of which none has been read yet."""
    sums = Totals() if totals else None
    return Rendering(_chunks(plan, lines, chunk_rows, sums), sums)


def summary_row(plan: Plan, totals: Totals) -> bytes:
    """Return the serialised row that holds the sums of the selected metrics."""
    figures = totals.figures()
    row = Row()
    for metric in plan.metrics:
        value = METRICS[metric.path[-1]].value(figures)
        if value is not None:
            setattr(row.metrics, metric.path[-1], value)
    return bytes(row.SerializeToString())


def repeated_before(chunk: Chunk, row: bytes) -> Chunk:
    """Return the chunk with a row before its first."""
    return Chunk(_delimited(row) + chunk.results, chunk.row_count + 1, chunk.last_row)


def halves(chunk: Chunk) -> tuple[Chunk, Chunk]:
    """Return the first and the second half of a chunk's rows; of one row the second is empty."""
    parsed = StreamResponse.FromString(chunk.results)
    rows = [bytes(row.SerializeToString()) for row in parsed.results]
    middle = (len(rows) + 1) // 2
    second = _chunk(rows[middle:]) if rows[middle:] else Chunk(b"", 0, b"")
    return _chunk(rows[:middle]), second


def with_unknown_enum(chunk: Chunk, plan: Plan) -> Chunk:
    """Return the chunk with a number that no published enum has in the first selected enum."""
    parsed = StreamResponse.FromString(chunk.results)
    selected = next((f for f in plan.attributes if f.type is FieldType.ENUM), None)
    if selected is not None:
        message = parsed.results[0]
        for part in selected.path[:-1]:
            message = getattr(message, part)
        setattr(message, selected.path[-1], UNKNOWN_ENUM_NUMBER)
    return Chunk(bytes(parsed.SerializeToString()), chunk.row_count, chunk.last_row)


def padded(chunk: Chunk, size_bytes: int) -> Chunk:
    """Return the chunk with bytes that make its message larger and nothing else."""
    padding = _PADDING_TAG + _varint(size_bytes) + bytes(size_bytes)
    return Chunk(chunk.results + padding, chunk.row_count, chunk.last_row)


def _chunks(
    plan: Plan, lines: Iterable[Line], chunk_rows: int, totals: Totals | None
) -> Iterator[Chunk]:
    row_of = _row_writer(plan)
    rows: list[bytes] = []
    for line in lines:
        rows.append(row_of(line))
        if totals is not None:
            totals.add(line.figures)
        if len(rows) == chunk_rows:
            yield _chunk(rows)
            rows = []
    if rows:
        yield _chunk(rows)


def _chunk(rows: list[bytes]) -> Chunk:
    return Chunk(b"".join(map(_delimited, rows)), len(rows), rows[-1])


def _delimited(row: bytes) -> bytes:
    return _RESULTS_TAG + _varint(len(row)) + row


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _row_writer(plan: Plan) -> Callable[[Line], bytes]:
    attributes = _attributes(plan)
    metric_names = tuple(metric.path[-1] for metric in plan.metrics)
    subjects: dict[int, tuple[Subject, bytes]] = {}
    segments: dict[tuple[Value, ...], bytes] = {}
    scratch = Row()

    def row(line: Line) -> bytes:
        known = subjects.get(id(line.subject))
        if known is None:
            # The subject is kept with its bytes, so that no other object takes its id.
            known = line.subject, _subject_bytes(line.subject.attributes, attributes)
            subjects[id(line.subject)] = known
        day = segments.get(line.segments)
        if day is None:
            day = segments[line.segments] = _segment_bytes(plan, line.segments)
        return known[1] + day + _metric_bytes(scratch, metric_names, line.metrics)

    return row


def _attributes(plan: Plan) -> tuple[Field, ...]:
    """Return the fields to write: the selected ones, and the resource names that come with them."""
    selected = {field.name: field for field in plan.attributes}
    if not plan.omits_resource_names:
        resources = dict.fromkeys((plan.resource, *(f.resource for f in plan.attributes)))
        for resource in resources:
            name = f"{resource}.resource_name"
            selected.setdefault(name, _resource_name(resource))
        if any(field.path[:2] == ("ad_group_ad", "ad") for field in plan.attributes):
            name = "ad_group_ad.ad.resource_name"
            selected.setdefault(name, _resource_name("ad_group_ad", "ad"))
    return tuple(selected.values())


def _resource_name(*path: str) -> Field:
    return Field(
        name=".".join((*path, "resource_name")),
        resource=path[0],
        category=FieldCategory.ATTRIBUTE,
        type=FieldType.RESOURCE_NAME,
        is_repeated=False,
        path=(*path, "resource_name"),
        enum_numbers={},
    )


def _metric_bytes(
    scratch: Any,  # noqa: ANN401 - a message class that is made at run time
    names: tuple[str, ...],
    values: tuple[Number | None, ...],
) -> bytes:
    if not names:
        return b""
    metrics = scratch.metrics
    metrics.Clear()
    for name, value in zip(names, values, strict=True):
        if value is not None:
            setattr(metrics, name, value)
    return bytes(scratch.SerializeToString())


def _segment_bytes(plan: Plan, values: tuple[Value, ...]) -> bytes:
    row = Row()
    for segment, value in zip(plan.segments, values, strict=True):
        _set(row, segment, value)
    return bytes(row.SerializeToString())


def _subject_bytes(attributes: Mapping[str, Value], fields: tuple[Field, ...]) -> bytes:
    row = Row()
    for selected in fields:
        value = attributes.get(selected.name)
        if value is not None:
            _set(row, selected, value)
    return bytes(row.SerializeToString())


def _set(
    row: Any,  # noqa: ANN401 - a message class that is made at run time
    selected: Field,
    value: Value,
) -> None:
    message = row
    for part in selected.path[:-1]:
        message = getattr(message, part)
    is_enum = selected.type is FieldType.ENUM
    setattr(message, selected.path[-1], selected.enum_numbers[str(value)] if is_enum else value)
