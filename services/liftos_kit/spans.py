"""Finished spans as JSON lines in rolling files, and back again as a waterfall.

Every process writes files of its own into one directory, `SERVICE.STARTED.PID.PART.jsonl`, so
that a trace can be read across processes with nothing else running.
"""

import json
import os
import queue
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from liftos_kit.redaction import redact, redact_text

_MAXIMUM_FILE_BYTES: Final = 8 * 1024 * 1024
_MAXIMUM_FILES: Final = 4
_MAXIMUM_QUEUED: Final = 8192
_GATHER_SECONDS: Final = 0.1
_FILE_NAME: Final = re.compile(r"(.+)\.(\d+)\.(\d+)\.(\d+)\.jsonl")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_STORE: Final = "db.system.name"
_KEY_ATTRIBUTES: Final = (
    "rpc.response.status_code",
    "http.response.status_code",
    "url.path",
    "db.collection.name",
    "error.type",
)


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened during a span, such as an exception."""

    name: str
    time_nanoseconds: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One finished span.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: Span id of the parent, which may live in another process, or None.
        name: What was done.
        kind: INTERNAL, SERVER, CLIENT, PRODUCER or CONSUMER.
        service: Name of the service that wrote it.
        start_nanoseconds: Unix time of the start.
        end_nanoseconds: Unix time of the end.
        status: UNSET, OK or ERROR.
        status_description: What went wrong, or empty.
        attributes: Attributes by key.
        events: Events in order.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    service: str
    start_nanoseconds: int
    end_nanoseconds: int
    status: str = "UNSET"
    status_description: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()

    @property
    def duration_seconds(self) -> float:
        """Length of the span."""
        return (self.end_nanoseconds - self.start_nanoseconds) / 1e9


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """A span at its place in the tree of its trace.

    Attributes:
        span: The span.
        depth: 0 for a root; a span whose parent is not known is a root too.
        offset_seconds: Start after the earliest start in the trace.
    """

    span: SpanRecord
    depth: int
    offset_seconds: float


class SpanFileProcessor(SpanProcessor):
    """Appends finished spans to rolling files, at most half a second after their end.

    Ending a span only puts it into a queue; a thread does the rest. When the queue is full or
    the disk refuses, spans are dropped and counted, and the caller never waits. A process keeps
    its newest files; of processes that are gone, each directory keeps as many again.

    Args:
        directory: Where the files go; made if it does not exist.
        service: Name of this service.
        on_drop: Called with the number of spans lost, from any thread.
        maximum_file_bytes: Size at which a new file begins.
        maximum_files: Files kept.
    """

    def __init__(
        self,
        directory: Path,
        *,
        service: str,
        on_drop: Callable[[int], None],
        maximum_file_bytes: int = _MAXIMUM_FILE_BYTES,
        maximum_files: int = _MAXIMUM_FILES,
    ) -> None:
        self._directory = directory
        self._service = service
        self._on_drop = on_drop
        self._maximum_file_bytes = maximum_file_bytes
        self._maximum_files = maximum_files
        self._queue: queue.Queue[ReadableSpan | threading.Event | None] = queue.Queue(
            _MAXIMUM_QUEUED
        )
        self._hurry = threading.Event()
        self._prefix = f"{service}.{time.time_ns()}.{os.getpid()}"
        self._part = 0
        self._file: BufferedWriter | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="span-files", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a finished span."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        try:
            self._queue.put_nowait(span)
        except queue.Full:
            self._on_drop(1)

    def shutdown(self) -> None:
        """Write what is queued and close the file."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._hurry.set()
            self._thread.join(timeout=5.0)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until everything queued so far is in the file."""
        if not self._thread.is_alive():
            return True
        written = threading.Event()
        self._queue.put(written)
        self._hurry.set()
        return written.wait(timeout_millis / 1000)

    def _run(self) -> None:
        going_on = True
        while going_on:
            items = [self._queue.get()]
            if isinstance(items[0], ReadableSpan):
                self._hurry.wait(_GATHER_SECONDS)  # one write for what ends meanwhile
                self._hurry.clear()
            while not self._queue.empty():
                items.append(self._queue.get_nowait())
            self._write([item for item in items if isinstance(item, ReadableSpan)])
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            going_on = None not in items
        if self._file is not None:
            self._file.close()

    def _write(self, spans: Sequence[ReadableSpan]) -> None:
        lines = [
            json.dumps(_encode(span, self._service), separators=(",", ":"), default=str).encode()
            for span in spans
        ]
        written = 0
        try:
            while written < len(lines):
                file = self._open_file()
                room = self._maximum_file_bytes - file.tell()
                chunk = [lines[written]]
                while written + len(chunk) < len(lines) and sum(map(len, chunk)) < room:
                    chunk.append(lines[written + len(chunk)])
                file.write(b"\n".join(chunk) + b"\n")
                file.flush()
                written += len(chunk)
        except OSError:
            self._on_drop(len(lines) - written)

    def _open_file(self) -> BufferedWriter:
        if self._file is not None and self._file.tell() >= self._maximum_file_bytes:
            self._file.close()
            self._file = None
            self._part += 1
        if self._file is None:
            path = self._directory / f"{self._prefix}.{self._part:06d}.jsonl"
            self._file = path.open("ab")
            self._remove_old_files()
        return self._file

    def _remove_old_files(self) -> None:
        mine: list[Path] = []
        left_behind: list[tuple[int, Path]] = []
        for path in self._directory.iterdir():
            match = _FILE_NAME.fullmatch(path.name)
            if match is None:
                continue
            if path.name.startswith(self._prefix + "."):
                mine.append(path)
            elif match[1] == self._service and not _is_alive(int(match[3])):
                left_behind.append((int(match[2]), path))
        for path in sorted(mine)[: -self._maximum_files]:
            path.unlink(missing_ok=True)
        for _, path in sorted(left_behind)[: -self._maximum_files]:
            path.unlink(missing_ok=True)


def read_trace(directory: Path, trace_id: str) -> list[SpanRecord]:
    """Return the spans of a trace from the files of all processes, by start.

    Lines that are cut off or are no spans are passed over: a file may be in the middle of a
    write, or its process may have been killed in one.

    Args:
        directory: The span directory.
        trace_id: 32 hex digits.

    Raises:
        ValueError: `trace_id` is not a trace id.
    """
    wanted = trace_id.strip().lower()
    if _TRACE_ID.fullmatch(wanted) is None:
        raise ValueError(f"a trace id has 32 hex digits, and {trace_id!r} is not one")
    found: dict[str, SpanRecord] = {}
    for path in sorted(directory.glob("*.jsonl")):
        for line in _lines_with(path, wanted.encode()):
            span = _decode(line)
            if span is not None and span.trace_id == wanted:
                found[span.span_id] = span
    return sorted(found.values(), key=lambda span: (span.start_nanoseconds, span.span_id))


def arrange(spans: Sequence[SpanRecord]) -> list[WaterfallRow]:
    """Return the spans as a tree, parents before children, siblings by start."""
    by_id = {span.span_id: span for span in spans}
    children: dict[str | None, list[SpanRecord]] = defaultdict(list)
    by_start = sorted(by_id.values(), key=lambda span: (span.start_nanoseconds, span.span_id))
    for span in by_start:
        known = span.parent_id in by_id and span.parent_id != span.span_id
        children[span.parent_id if known else None].append(span)
    first = min((span.start_nanoseconds for span in spans), default=0)
    rows: list[WaterfallRow] = []
    placed: set[str] = set()
    # Damaged files may hold parents in a circle, which no root reaches: cut it at its first span.
    for root in (*children[None], *by_start):
        waiting = [(root, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span.span_id in placed:
                continue
            placed.add(span.span_id)
            rows.append(WaterfallRow(span, depth, (span.start_nanoseconds - first) / 1e9))
            waiting.extend((child, depth + 1) for child in reversed(children[span.span_id]))
    return rows


def render_waterfall(spans: Sequence[SpanRecord], *, width: int = 120) -> list[str]:
    """Return a trace as lines of text: who, in which store, what, when, how long, how it ended.

    Args:
        spans: Spans of one trace.
        width: Columns of a line, without its notes.
    """
    rows = arrange(spans)
    if not rows:
        return []
    total_seconds = max(row.offset_seconds + row.span.duration_seconds for row in rows)
    services = _column("service", [row.span.service for row in rows])
    stores = _column("store", [str(row.span.attributes.get(_STORE, "")) for row in rows])
    names = _column("span", ["  " * row.depth + row.span.name for row in rows])
    labels = ["  ".join(filter(None, cells)) for cells in zip(services, stores, names, strict=True)]
    bar_width = max(16, width - len(labels[0]) - 26)
    total = _milliseconds(total_seconds).strip()
    lines = [
        f"trace {rows[0].span.trace_id}: {len(rows)} spans in {total}",
        f"{labels[0]}  {'':{bar_width + 2}} {'start':>10} {'length':>10}  notes",
    ]
    for row, label in zip(rows, labels[1:], strict=True):
        bar = _bar(row, total_seconds=total_seconds, width=bar_width)
        start, length = _milliseconds(row.offset_seconds), _milliseconds(row.span.duration_seconds)
        lines.append(f"{label}  {bar} {start} {length}  {_notes(row.span)}".rstrip())
    return lines


def _column(title: str, texts: Sequence[str]) -> list[str]:
    """Return a title and its texts, all of one width; nothing where all texts are empty."""
    cells = [title, *texts] if any(texts) else [""] * (len(texts) + 1)
    width = max(map(len, cells))
    return [cell.ljust(width) for cell in cells]


def _bar(row: WaterfallRow, *, total_seconds: float, width: int) -> str:
    scale = width / total_seconds if total_seconds > 0 else 0.0
    left = min(int(row.offset_seconds * scale), width - 1)
    length = min(max(1, round(row.span.duration_seconds * scale)), width - left)
    return f"|{' ' * left}{'█' * length}{' ' * (width - left - length)}|"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:7.2f} ms"


def _notes(span: SpanRecord) -> str:
    notes = ["ERROR"] if span.status == "ERROR" else []
    notes += [str(span.attributes[key]) for key in _KEY_ATTRIBUTES if key in span.attributes]
    notes += [
        f"{event.attributes.get('exception.type', event.name)}: "
        f"{event.attributes.get('exception.message', '')}"
        for event in span.events
        if event.name == "exception"
    ]
    return " ".join(dict.fromkeys(notes))


def _encode(span: ReadableSpan, service: str) -> dict[str, object]:
    context = span.context
    assert context is not None
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_id": f"{span.parent.span_id:016x}" if span.parent is not None else None,
        "name": span.name,
        "kind": span.kind.name,
        "service": service,
        "start": span.start_time,
        "end": span.end_time,
        "status": span.status.status_code.name,
        "description": redact_text(span.status.description or ""),
        "attributes": redact(dict(span.attributes or {})),
        "events": [
            {
                "name": event.name,
                "time": event.timestamp,
                "attributes": redact(dict(event.attributes or {})),
            }
            for event in span.events
        ],
    }


def _decode(line: bytes) -> SpanRecord | None:
    try:
        raw = json.loads(line)
        return SpanRecord(
            trace_id=raw["trace_id"],
            span_id=raw["span_id"],
            parent_id=raw["parent_id"],
            name=raw["name"],
            kind=raw["kind"],
            service=raw["service"],
            start_nanoseconds=int(raw["start"]),
            end_nanoseconds=int(raw["end"]),
            status=raw["status"],
            status_description=raw["description"],
            attributes=dict(raw["attributes"]),
            events=tuple(
                SpanEvent(event["name"], int(event["time"]), dict(event["attributes"]))
                for event in raw["events"]
            ),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _lines_with(path: Path, wanted: bytes) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for line in file:
                if wanted in line:
                    yield line
    except FileNotFoundError:  # rolled away meanwhile
        return


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
