"""A trace that begins at the caller: the demo's own spans, beside those of the services."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Tracer, format_trace_id, set_span_in_context

from liftos_kit.spans import SpanFileProcessor

SERVICE: Final = "liftos-demo"


@dataclass(frozen=True, slots=True)
class RecordedTrace:
    """A trace under way.

    Attributes:
        trace_id: 32 hex digits.
    """

    trace_id: str
    _tracer: Tracer
    _context: Context

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        """Record a call of a service; the client passes the trace on within, and only there."""
        with self._tracer.start_as_current_span(method, self._context, kind=SpanKind.CLIENT):
            yield


@contextmanager
def record_trace(span_directory: Path, name: str) -> Iterator[RecordedTrace]:
    """Begin a trace and write its spans where the services of a stack write theirs."""
    processor = SpanFileProcessor(span_directory, service=SERVICE, on_drop=lambda _: None)
    provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer(SERVICE)
    root = tracer.start_span(name)
    try:
        trace_id = format_trace_id(root.get_span_context().trace_id)
        yield RecordedTrace(trace_id, tracer, set_span_in_context(root))
    finally:
        root.end()
        provider.shutdown()
