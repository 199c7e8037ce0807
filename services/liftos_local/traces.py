"""Traces of a stack on this machine, from the span files of its data directory."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from liftos_kit.spans import SpanRecord, read_trace, render_waterfall
from liftos_local.directory import DataDirectory

_POLL_SECONDS: Final = 0.1
_SETTLED_SECONDS: Final = 1.0


def wait_for_trace(
    data_dir: Path, trace_id: str, *, patience_seconds: float = 2.0
) -> Sequence[SpanRecord]:
    """Return the spans of a trace by their start, none where there is no such trace.

    Services write their spans a moment after the request: a trace that is not there yet, or whose
    last span is younger than a second, is waited for.

    Raises:
        ValueError: `trace_id` is not a trace id.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        spans = read_trace(DataDirectory(data_dir).spans, trace_id)
        last = max((span.end_nanoseconds for span in spans), default=time.time_ns())
        settled = time.time_ns() - last > _SETTLED_SECONDS * 1e9
        if settled or time.monotonic() >= deadline:
            return spans
        time.sleep(_POLL_SECONDS)


def waterfall(spans: Sequence[SpanRecord], *, width: int) -> list[str]:
    """Return a trace as lines of text."""
    return render_waterfall(spans, width=width)
