"""Every telemetry name, and what makes telemetry go: traces, metrics and logs with the same ids.

Instruments are there from the import on and cost next to nothing until `configure` gives them
somewhere to go. Names follow the OpenTelemetry semantic conventions (RPC 1.44, database stable);
what those do not name begins with `liftos.`.

A call that is not sampled gets no child spans at all: `suppress_child_spans` switches the
database instrumentations off for it, and helpers of this file do nothing but measure.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any, Final, Literal
from uuid import uuid4
from wsgiref.simple_server import WSGIServer

import structlog
from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, start_http_server
from structlog.typing import EventDict, Processor, WrappedLogger

from liftos_kit.redaction import redact_event, redact_text
from liftos_kit.settings import ServiceSettings
from liftos_kit.spans import SpanFileProcessor

SCOPE: Final = "liftos"

# Attribute keys.
RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
URL_PATH: Final = "url.path"
DB_SYSTEM: Final = "db.system.name"
DB_OPERATION: Final = "db.operation.name"
DB_COLLECTION: Final = "db.collection.name"
DB_QUERY_TEXT: Final = "db.query.text"
DB_QUERY_SUMMARY: Final = "db.query.summary"
ORG: Final = "liftos.org"
OUTCOME: Final = "liftos.outcome"
LEG: Final = "liftos.search.leg"
EMBEDDED: Final = "liftos.embedding.what"
TIER: Final = "liftos.cache.tier"
RESULT: Final = "liftos.cache.result"
CACHED: Final = "liftos.cache.what"
JOB_KIND: Final = "liftos.job.kind"
JOB_ID: Final = "liftos.job.id"
JOB_DELIVERY: Final = "liftos.job.delivery"
PLATFORM: Final = "liftos.platform"
ERROR_CLASS: Final = "liftos.error.class"
ACCOUNT: Final = "liftos.account"

# Names of metrics.
RPC_SERVER_DURATION: Final = "rpc.server.call.duration"
RPC_CLIENT_DURATION: Final = "rpc.client.call.duration"
RPC_SERVER_ACTIVE: Final = "liftos.rpc.server.active_calls"
DB_DURATION: Final = "db.client.operation.duration"
INGEST_ROWS: Final = "liftos.ingest.rows"
INGEST_BATCH_DURATION: Final = "liftos.ingest.batch.duration"
OUTBOX_LAG_COMMITS: Final = "liftos.outbox.lag.commits"
OUTBOX_LAG_SECONDS: Final = "liftos.outbox.lag.time"
OUTBOX_DOCUMENTS: Final = "liftos.outbox.documents"
EMBEDDING_DURATION: Final = "liftos.embedding.duration"
SEARCH_LEG_DURATION: Final = "liftos.search.leg.duration"
CACHE_REQUESTS: Final = "liftos.cache.requests"
CACHE_DURATION: Final = "liftos.cache.duration"
JOBS_WAITING: Final = "liftos.jobs.waiting"
JOBS_DELAYED: Final = "liftos.jobs.delayed"
JOBS_RUNNING: Final = "liftos.jobs.running"
JOBS_OLDEST_WAITING: Final = "liftos.jobs.oldest_waiting.time"
JOBS_COME_AGAIN: Final = "liftos.jobs.come_again"
JOBS_ENDED: Final = "liftos.jobs.ended"
JOB_DURATION: Final = "liftos.jobs.duration"
READ_ROWS: Final = "liftos.read.rows"
READ_BYTES: Final = "liftos.read.bytes"
READ_CALLS: Final = "liftos.read.calls"
READ_FAILURES: Final = "liftos.read.failures"
READ_LOSSES: Final = "liftos.read.losses"
READ_LAG_DAYS: Final = "liftos.read.lag"
SPANS_DROPPED: Final = "liftos.telemetry.spans.dropped"

SECONDS_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
STORE_SECONDS_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

_meter = metrics.get_meter(SCOPE)

database_duration: Final = _meter.create_histogram(
    DB_DURATION,
    unit="s",
    description="Time of one operation on a store, seen from here.",
    explicit_bucket_boundaries_advisory=STORE_SECONDS_BUCKETS,
)
ingest_rows: Final = _meter.create_counter(
    INGEST_ROWS,
    unit="{row}",
    description="Rows of committed batches and slices, by what became of them.",
)
ingest_batch_duration: Final = _meter.create_histogram(
    INGEST_BATCH_DURATION,
    unit="s",
    description="Time from a batch's arrival to its commit.",
    explicit_bucket_boundaries_advisory=SECONDS_BUCKETS,
)
outbox_lag_commits: Final = _meter.create_gauge(
    OUTBOX_LAG_COMMITS, unit="{commit}", description="Commits that search does not have yet."
)
outbox_lag_seconds: Final = _meter.create_gauge(
    OUTBOX_LAG_SECONDS, unit="s", description="Age of the oldest commit that search lacks."
)
outbox_documents: Final = _meter.create_counter(
    OUTBOX_DOCUMENTS, unit="{document}", description="Documents written to search, by outcome."
)
embedding_duration: Final = _meter.create_histogram(
    EMBEDDING_DURATION,
    unit="s",
    description="Time to embed a batch of texts, or a query.",
    explicit_bucket_boundaries_advisory=SECONDS_BUCKETS,
)
search_leg_duration: Final = _meter.create_histogram(
    SEARCH_LEG_DURATION,
    unit="s",
    description="Time of one leg of a search.",
    explicit_bucket_boundaries_advisory=SECONDS_BUCKETS,
)
cache_requests: Final = _meter.create_counter(
    CACHE_REQUESTS, unit="{request}", description="Cache look-ups, by tier and result."
)
cache_duration: Final = _meter.create_histogram(
    CACHE_DURATION,
    unit="s",
    description="Time of one cache look-up, by tier.",
    explicit_bucket_boundaries_advisory=STORE_SECONDS_BUCKETS,
)
jobs_waiting: Final = _meter.create_gauge(
    JOBS_WAITING, unit="{job}", description="Jobs that are due and not taken, by kind."
)
jobs_delayed: Final = _meter.create_gauge(
    JOBS_DELAYED, unit="{job}", description="Jobs that are not due yet, by kind."
)
jobs_running: Final = _meter.create_gauge(
    JOBS_RUNNING, unit="{job}", description="Jobs that some worker has taken, by kind."
)
jobs_oldest_waiting: Final = _meter.create_gauge(
    JOBS_OLDEST_WAITING, unit="s", description="How long the oldest waiting job is due, by kind."
)
jobs_come_again: Final = _meter.create_counter(
    JOBS_COME_AGAIN,
    unit="{job}",
    description="Jobs taken once more though no handler raised: stops, deaths, blocked loops.",
)
jobs_ended: Final = _meter.create_counter(
    JOBS_ENDED, unit="{job}", description="Runs of jobs that ended here, by kind and outcome."
)
job_duration: Final = _meter.create_histogram(
    JOB_DURATION,
    unit="s",
    description="Time of a job in the hands of its handler, by kind and outcome.",
    explicit_bucket_boundaries_advisory=(*SECONDS_BUCKETS, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
read_rows: Final = _meter.create_counter(
    READ_ROWS, unit="{row}", description="Rows that platforms answered, of committed slices."
)
read_bytes: Final = _meter.create_counter(
    READ_BYTES, unit="By", description="Bytes that platforms answered, as they came."
)
read_calls: Final = _meter.create_counter(
    READ_CALLS, unit="{call}", description="Calls to platforms, polls of their jobs apart."
)
read_failures: Final = _meter.create_counter(
    READ_FAILURES, unit="{attempt}", description="Tries of slices that failed, by class."
)
read_losses: Final = _meter.create_counter(
    READ_LOSSES, unit="{attempt}", description="Tries of slices whose lane was lost meanwhile."
)
spans_dropped: Final = _meter.create_counter(
    SPANS_DROPPED, unit="{span}", description="Spans lost on the way to the span files."
)

_tracer = trace.get_tracer(SCOPE)
_propagator: Final = TraceContextTextMapPropagator()

# A server that ends waits this long for its collector.
_OTLP_TIMEOUT_SECONDS: Final = 3
# The instrumentation libraries look at this key and step aside.
_SUPPRESS_KEY: Final = "suppress_instrumentation"


class TelemetryConfiguredError(RuntimeError):
    """Telemetry belongs to the process and was configured before."""

    def __init__(self) -> None:
        super().__init__("telemetry is configured once in a process; configure it in its main only")


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where telemetry goes.

    Attributes:
        otlp_endpoint: `http://host:4317` (gRPC), or https; None sends nothing.
        trace_sample_ratio: Share of traces recorded that no caller has decided on, 0 to 1.
        span_directory: Where spans go as files; None writes none.
        log_level: Least level that is logged, by its standard name.
        log_format: One JSON object a line, or lines for people.
    """

    otlp_endpoint: str | None = None
    trace_sample_ratio: float = 1.0
    span_directory: Path | None = None
    log_level: str = "INFO"
    log_format: Literal["json", "console"] = "json"


def settings_of(service: ServiceSettings) -> TelemetrySettings:
    """Return where the telemetry of a service goes."""
    return TelemetrySettings(
        otlp_endpoint=service.otlp_endpoint,
        trace_sample_ratio=service.trace_sample_ratio,
        span_directory=service.span_directory,
        log_level=service.log_level,
        log_format=service.log_format,
    )


class MetricsServer:
    """Serves `/metrics` for Prometheus on a thread, until closed."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port = int(server.server_port)

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5.0)


class Telemetry:
    """The configured telemetry of this process."""

    def __init__(
        self, tracers: TracerProvider, meters: MeterProvider, registry: CollectorRegistry
    ) -> None:
        self._tracers = tracers
        self._meters = meters
        self._registry = registry

    def start_metrics_server(self, port: int, host: str) -> MetricsServer:
        """Serve the metrics for Prometheus; port 0 picks a free one.

        Raises:
            OSError: The port cannot be had.
        """
        server, thread = start_http_server(port, addr=host, registry=self._registry)
        return MetricsServer(server, thread)

    def shutdown(self) -> None:
        """Send and write what is there, and end; a dead collector costs a few seconds at most."""
        with ThreadPoolExecutor(max_workers=2) as executor:
            ends = (executor.submit(self._tracers.shutdown), executor.submit(self._meters.shutdown))
        for end in ends:
            end.result()


def configure(service_name: str, settings: TelemetrySettings) -> Telemetry:
    """Set up logging, traces, metrics and the spans of Postgres and Redis for this process.

    Call it once, in the process that uses it (after a fork), before the first pool is opened.

    Raises:
        TelemetryConfiguredError: It was called before.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        raise TelemetryConfiguredError
    _configure_logging(settings.log_level, settings.log_format)
    resource = Resource.create(
        {
            "service.name": service_name,
            "service.version": _version(),
            "service.instance.id": str(uuid4()),
            "process.pid": os.getpid(),
        }
    )
    tracers = TracerProvider(
        sampler=ParentBased(WorkSampler(settings.trace_sample_ratio)),
        resource=resource,
        shutdown_on_exit=False,
    )
    tracers.add_span_processor(_StatementNames())
    registry = CollectorRegistry()
    readers: list[MetricReader] = [PrometheusMetricReader(registry=registry)]
    if settings.span_directory is not None:
        tracers.add_span_processor(
            SpanFileProcessor(
                settings.span_directory, service=service_name, on_drop=spans_dropped.add
            )
        )
    if settings.otlp_endpoint is not None:
        insecure = not settings.otlp_endpoint.startswith("https://")
        tracers.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(
                    settings.otlp_endpoint, insecure=insecure, timeout=_OTLP_TIMEOUT_SECONDS
                )
            )
        )
        readers.append(
            PeriodicExportingMetricReader(
                OTLPMetricExporter(
                    settings.otlp_endpoint, insecure=insecure, timeout=_OTLP_TIMEOUT_SECONDS
                )
            )
        )
    meters = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "database")
    AsyncPGInstrumentor().instrument(tracer_provider=tracers)  # type: ignore[no-untyped-call]
    RedisInstrumentor().instrument(tracer_provider=tracers)
    return Telemetry(tracers, meters, registry)


def suppress_child_spans(context: Context) -> Context:
    """Return a context in which the database instrumentations make no spans."""
    return otel_context.set_value(_SUPPRESS_KEY, True, context)


def extract(carrier: Mapping[str, str]) -> Context:
    """Return the context of a carrier's trace (W3C `traceparent`), empty if it has none.

    Nothing else of the caller's context is taken over.
    """
    return _propagator.extract(carrier, context=Context())


def inject_carrier() -> dict[str, str]:
    """Return the present trace for storage beside a commit; empty where there is none."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def current_trace_id() -> str:
    """Return the present trace id as 32 hex digits, empty where there is none."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def record_error(span: Span, error: BaseException) -> None:
    """Put an exception on a span, without the secrets its text may hold."""
    if not span.is_recording():
        return
    message = redact_text(str(error))
    stack = redact_text("".join(traceback.format_exception(error)))
    span.record_exception(
        error, attributes={"exception.message": message, "exception.stacktrace": stack}
    )
    span.set_status(Status(StatusCode.ERROR, message))
    span.set_attribute(ERROR_TYPE, type(error).__qualname__)


@contextmanager
def background_span(name: str, carrier: Mapping[str, str]) -> Iterator[Span]:
    """Run a block as background work that continues a stored trace, or begins a new one.

    Args:
        name: Name of the work, such as `outbox.index`.
        carrier: What `inject_carrier` gave when the work was ordered.
    """
    parent = extract(carrier)
    span = _tracer.start_span(name, context=parent, kind=SpanKind.CONSUMER)
    with _current(span, parent):
        yield span


@contextmanager
def step_span(name: str) -> Iterator[Span]:
    """Run a block as a step of the present trace; costs nothing where it is not recorded."""
    parent = trace.get_current_span()
    if not parent.is_recording():
        yield parent
        return
    with _current(_tracer.start_span(name), otel_context.get_current()) as span:
        yield span


@contextmanager
def http_span(method: str, host: str, path: str) -> Iterator[Span]:
    """Run a block as one call over HTTP of the present trace; set `HTTP_STATUS` once it is known.

    Queries are left out, since they may hold what is secret.
    """
    parent = trace.get_current_span()
    if not parent.is_recording():
        yield parent
        return
    attributes = {HTTP_METHOD: method, SERVER_ADDRESS: host, URL_PATH: path}
    span = _tracer.start_span(method, kind=SpanKind.CLIENT, attributes=attributes)
    with _current(span, otel_context.get_current()):
        yield span


@contextmanager
def milvus_span(operation: str, collection: str) -> Iterator[Span]:
    """Run a block as one operation on Milvus, measured and, within a recorded trace, traced."""
    with _store_span("milvus", operation, collection) as span:
        yield span


@contextmanager
def postgres_span(operation: str, collection: str) -> Iterator[Span]:
    """As `milvus_span`, for what the instrumentation of Postgres does not see, such as COPY."""
    with _store_span("postgresql", operation, collection) as span:
        yield span


def record_statement(query: str, seconds: float, error: BaseException | None) -> None:
    """Measure one statement on Postgres under the name it carries as a comment."""
    error_type = type(error).__qualname__ if error is not None else ""
    database_duration.record(
        seconds, _store_attributes("postgresql", statement_name(query), "", error_type)
    )


@lru_cache(maxsize=2048)
def statement_name(query: str) -> str:
    """Return the name in a statement's leading comment, or else its first word."""
    if query.startswith("/* "):
        name, found, _ = query[3:].partition(" */")
        if found:
            return name
    words = query.split(maxsplit=1)
    return words[0].rstrip(";").upper() if words else ""


class WorkSampler(Sampler):
    """Decides on traces that begin here: a share of the work, and never a lone store access.

    Connects, probes and polls have no parent; as traces of one span they would bury the rest.
    """

    def __init__(self, ratio: float) -> None:
        self._share = TraceIdRatioBased(ratio)

    def should_sample(  # noqa: PLR0917 - the library calls it so
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Drop store accesses, take a share of all else."""
        # The instrumentation of Redis says only later what it is about; our calls say it at once.
        if kind is SpanKind.CLIENT and RPC_SYSTEM not in (attributes or {}):
            return SamplingResult(Decision.DROP)
        return self._share.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """Name the sampler."""
        return f"WorkSampler({self._share.get_description()})"


class _StatementNames(SpanProcessor):
    """Calls a statement's span by the name the statement carries."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:  # noqa: ARG002
        query = span.attributes.get(DB_QUERY_TEXT) if span.attributes else None
        if isinstance(query, str) and query.startswith("/* "):
            name = statement_name(query)
            span.update_name(name)
            span.set_attribute(DB_QUERY_SUMMARY, name)


@contextmanager
def _store_span(system: str, operation: str, collection: str) -> Iterator[Span]:
    parent = trace.get_current_span()
    start = time.perf_counter()
    error_type = ""
    try:
        if not parent.is_recording():
            yield parent
        else:
            span = _tracer.start_span(
                f"{operation} {collection}",
                kind=SpanKind.CLIENT,
                attributes=_store_attributes(system, operation, collection, ""),
            )
            with _current(span, otel_context.get_current()):
                yield span
    except BaseException as error:
        error_type = type(error).__qualname__
        raise
    finally:
        database_duration.record(
            time.perf_counter() - start,
            _store_attributes(system, operation, collection, error_type),
        )


@lru_cache(maxsize=4096)
def _store_attributes(
    system: str, operation: str, collection: str, error_type: str
) -> Mapping[str, str]:
    attributes = {DB_SYSTEM: system, DB_OPERATION: operation}
    if collection:
        attributes[DB_COLLECTION] = collection
    if error_type:
        attributes[ERROR_TYPE] = error_type
    return attributes


@contextmanager
def _current(span: Span, parent: Context) -> Iterator[Span]:
    """Make a span the present one, end it after the block, keep its error."""
    context = trace.set_span_in_context(span, parent)
    if not span.is_recording():
        context = suppress_child_spans(context)
    token = otel_context.attach(context)
    try:
        yield span
    except Exception as error:
        record_error(span, error)
        raise
    finally:
        otel_context.detach(token)
        span.end()


def _configure_logging(level: str, log_format: Literal["json", "console"]) -> None:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace_ids,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_event,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # A line for each call, with its query, would drown what is ours: spans tell of calls.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def add_trace_ids(_: WrappedLogger, __: str, event: EventDict) -> MutableMapping[str, Any]:
    """Add the present trace to a log line; a structlog processor."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def _version() -> str:
    try:
        return version("liftos-core")
    except PackageNotFoundError:  # run from a checkout
        return "0+checkout"
