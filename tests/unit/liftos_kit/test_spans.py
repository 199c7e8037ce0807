"""Spans to files and back, over processes, half lines and rolling."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from liftos_kit.spans import (
    SpanFileProcessor,
    SpanRecord,
    arrange,
    read_trace,
    render_waterfall,
)

_CHILD = """
import sys
from pathlib import Path
from opentelemetry.sdk.trace import TracerProvider
from liftos_kit.spans import SpanFileProcessor
from liftos_kit.telemetry import extract
tracers = TracerProvider()
tracers.add_span_processor(
    SpanFileProcessor(Path(sys.argv[1]), service="child", on_drop=lambda count: None)
)
tracer = tracers.get_tracer("test")
context = extract({"traceparent": sys.argv[2]})
with tracer.start_as_current_span("child work", context=context):
    with tracer.start_as_current_span("child step", attributes={"password": "hunter2", "rows": 3}):
        pass
tracers.shutdown()
"""


def span(span_id: str, parent_id: str | None, start: int, end: int) -> SpanRecord:
    """Make a span of one trace."""
    return SpanRecord(
        trace_id="a" * 32,
        span_id=span_id,
        parent_id=parent_id,
        name=f"span {span_id}",
        kind="INTERNAL",
        service="memory",
        start_nanoseconds=start,
        end_nanoseconds=end,
    )


def providers(directory: Path, **options: int) -> tuple[TracerProvider, list[int]]:
    """Make a tracer provider that writes files, and the list of its drops."""
    drops: list[int] = []
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(
        SpanFileProcessor(directory, service="parent", on_drop=drops.append, **options)
    )
    return tracers, drops


def test_a_trace_is_put_together_from_two_processes(tmp_path: Path) -> None:
    """Spans of a child process join the parent's, in order, without secrets."""
    tracers, drops = providers(tmp_path)
    with tracers.get_tracer("test").start_as_current_span("request") as root:
        context = root.get_span_context()
        trace_id = f"{context.trace_id:032x}"
        root.add_event("noted", {"where": "here"})
        subprocess.run(
            [sys.executable, "-c", _CHILD, tmp_path, f"00-{trace_id}-{context.span_id:016x}-01"],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    tracers.shutdown()

    spans = read_trace(tmp_path, trace_id)
    assert [(s.service, s.name) for s in spans] == [
        ("parent", "request"),
        ("child", "child work"),
        ("child", "child step"),
    ]
    request, work, step = spans
    assert (request.parent_id, work.parent_id, step.parent_id) == (
        None,
        request.span_id,
        work.span_id,
    )
    assert step.attributes == {"password": "[redacted]", "rows": 3}
    assert [(event.name, event.attributes) for event in request.events] == [
        ("noted", {"where": "here"})
    ]
    assert 0 < step.duration_seconds < work.duration_seconds < request.duration_seconds
    assert drops == []
    assert read_trace(tmp_path, trace_id.upper()) == spans
    assert read_trace(tmp_path, "0" * 31 + "1") == []


def test_a_span_can_be_read_half_a_second_after_its_end(tmp_path: Path) -> None:
    """Nothing has to be flushed for a call that was just made to be found."""
    tracers, _ = providers(tmp_path)
    for _ in range(3):
        with tracers.get_tracer("test").start_as_current_span("call") as root:
            trace_id = f"{root.get_span_context().trace_id:032x}"
        deadline = time.monotonic() + 0.5
        while not (found := read_trace(tmp_path, trace_id)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [s.name for s in found] == ["call"]
    tracers.shutdown()


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    """A half line, binary rubbish and foreign JSON cost no whole span."""
    tracers, _ = providers(tmp_path)
    with tracers.get_tracer("test").start_as_current_span("whole") as root:
        trace_id = f"{root.get_span_context().trace_id:032x}"
    tracers.shutdown()
    (file,) = tmp_path.glob("*.jsonl")
    line = file.read_bytes()
    file.write_bytes(
        line[: len(line) // 2]
        + b"\n"
        + line
        + b"\xff\xfe"
        + trace_id.encode()
        + b"\n"
        + json.dumps([trace_id]).encode()
        + b"\n"
        + line[:-20]
    )
    assert [s.name for s in read_trace(tmp_path, trace_id)] == ["whole"]


@pytest.mark.parametrize("wrong", ["", "abc", "g" * 32, "a" * 33, "../" + "a" * 29])
def test_what_is_no_trace_id_is_refused(tmp_path: Path, wrong: str) -> None:
    """Only 32 hex digits are looked for."""
    with pytest.raises(ValueError, match="32 hex digits"):
        read_trace(tmp_path, wrong)


def test_files_roll_and_stay_few(tmp_path: Path) -> None:
    """Whatever is written, only the newest files stay, each near its limit."""
    tracers, drops = providers(tmp_path, maximum_file_bytes=2000, maximum_files=3)
    last = ""
    for number in range(60):
        with tracers.get_tracer("test").start_as_current_span(f"call {number}") as root:
            last = f"{root.get_span_context().trace_id:032x}"
        tracers.force_flush()
    sizes = [path.stat().st_size for path in tmp_path.glob("*.jsonl")]
    assert len(sizes) == 3
    assert max(sizes) < 3000
    assert [s.name for s in read_trace(tmp_path, last)] == ["call 59"]
    tracers.shutdown()
    assert drops == []


def test_files_of_dead_processes_go_and_those_of_others_stay(tmp_path: Path) -> None:
    """A restarting service leaves no files behind for ever, and touches no live one."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number in range(9):
        (tmp_path / f"parent.{number}.{dead.pid}.000000.jsonl").touch()
    alive = tmp_path / f"parent.0.{os.getppid()}.000000.jsonl"
    other = tmp_path / f"other.0.{dead.pid}.000000.jsonl"
    alive.touch()
    other.touch()
    tracers, _ = providers(tmp_path)
    tracers.get_tracer("test").start_span("first").end()
    tracers.shutdown()
    left = {int(path.name.split(".")[1]) for path in tmp_path.glob(f"parent.*.{dead.pid}.*")}
    assert left == {5, 6, 7, 8}
    assert alive.exists()
    assert other.exists()


def test_a_full_queue_drops_and_counts_and_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a disk that hangs, ending spans stays fast and the losses are known."""
    go = threading.Event()
    written: list[int] = []

    def hang(_: SpanFileProcessor, spans: list[object]) -> None:
        go.wait(20)
        written.append(len(spans))

    monkeypatch.setattr(SpanFileProcessor, "_write", hang)
    tracers, drops = providers(tmp_path)
    tracer = tracers.get_tracer("test")
    started = time.monotonic()
    for _ in range(20_000):
        tracer.start_span("call").end()
    assert time.monotonic() - started < 5
    assert sum(drops) > 0
    go.set()
    tracers.shutdown()
    assert sum(drops) + sum(written) == 20_000


def test_a_disk_that_refuses_is_counted(tmp_path: Path) -> None:
    """Spans that cannot be written are drops, and the process goes on."""
    directory = tmp_path / "spans"
    tracers, drops = providers(directory)
    directory.rmdir()
    directory.touch()
    tracers.get_tracer("test").start_span("lost").end()
    tracers.force_flush()
    assert drops == [1]
    directory.unlink()
    directory.mkdir()
    tracers.get_tracer("test").start_span("kept").end()
    tracers.shutdown()
    assert len(list(directory.glob("*.jsonl"))) == 1


def test_spans_that_are_not_sampled_are_not_written(tmp_path: Path) -> None:
    """A span of a trace that nobody records leaves no line."""
    tracers, _ = providers(tmp_path)
    with trace.use_span(trace.INVALID_SPAN):
        pass
    tracers.shutdown()
    assert list(tmp_path.glob("*.jsonl")) == []


def test_waterfall_shows_tree_times_and_errors() -> None:
    """Children stand indented below their parent, bars where their time was."""
    millisecond = 1_000_000
    root = span("1" * 16, None, 0, 100 * millisecond)
    child = span("2" * 16, root.span_id, 50 * millisecond, 100 * millisecond)
    orphan = SpanRecord(
        trace_id="a" * 32,
        span_id="3" * 16,
        parent_id="f" * 16,
        name="outbox.index",
        kind="CONSUMER",
        service="memory-worker",
        start_nanoseconds=200 * millisecond,
        end_nanoseconds=400 * millisecond,
        status="ERROR",
        attributes={"error.type": "StoreUnavailableError", "db.collection.name": "documents"},
    )
    title, headings, *lines = render_waterfall([orphan, child, root], width=110)
    assert headings.split() == ["service", "span", "start", "length", "notes"]
    assert headings.index("span") == lines[0].index("span")
    assert title == f"trace {'a' * 32}: 3 spans in 400.00 ms"
    assert [line[:33].rstrip() for line in lines] == [
        f"memory         span {'1' * 16}"[:33],
        f"memory           span {'2' * 16}"[:33],
        "memory-worker  outbox.index",
    ]
    bars = [line[line.index("|") + 1 : line.rindex("|")] for line in lines]
    width = len(bars[0])
    assert [bar.count("█") for bar in bars] == [
        round(width / 4),
        round(width / 8),
        round(width / 2),
    ]
    assert [bar.index("█") for bar in bars] == [0, width // 8, width // 2]
    assert lines[1].endswith("50.00 ms   50.00 ms")
    assert lines[2].endswith("ERROR documents StoreUnavailableError")
    assert render_waterfall([]) == []


def test_waterfall_names_the_store_of_a_span() -> None:
    """Calls of Postgres, Redis and Milvus stand out from the service's own work."""
    call = replace(span("2" * 16, "1" * 16, 1, 5), attributes={"db.system.name": "postgresql"})
    _, headings, served, stored = render_waterfall([span("1" * 16, None, 0, 9), call])
    store = headings.index("store")
    assert stored[store:].startswith("postgresql  ")
    assert not served[store : headings.index("span")].strip()
    assert max(map(len, (headings, served, stored))) <= 120 + len("  notes")


@st.composite
def traces(draw: st.DrawFn) -> list[SpanRecord]:
    """Spans with parents that may be missing, later, themselves, or in a circle."""
    ids = [f"{number:016x}" for number in range(1, draw(st.integers(1, 12)) + 1)]
    parents = st.one_of(st.none(), st.sampled_from([*ids, "f" * 16]))
    starts = st.integers(0, 10**9)
    spans = []
    for span_id in ids:
        start = draw(starts)
        spans.append(span(span_id, draw(parents), start, start + draw(starts)))
    return spans


@given(spans=traces())
def test_every_span_has_one_row_below_its_parent(spans: list[SpanRecord]) -> None:
    """However the parents are tangled, no span is lost or doubled, and parents come first."""
    rows = arrange(spans)
    assert sorted(row.span.span_id for row in rows) == sorted(s.span_id for s in spans)
    depths: dict[str, int] = {}
    for row in rows:
        if row.depth:
            assert row.span.parent_id is not None
            assert depths[row.span.parent_id] == row.depth - 1
        depths[row.span.span_id] = row.depth
        assert row.offset_seconds >= 0
    lines = render_waterfall(spans)
    assert len(lines) == len(spans) + 2
