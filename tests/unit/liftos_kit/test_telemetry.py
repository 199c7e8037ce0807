"""What a configured process sends, serves and logs, seen from outside of it."""

import asyncio
import json
import os
import re
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind

from liftos_kit import telemetry
from liftos_kit.redaction import REDACTED, is_secret_key, redact, redact_text
from liftos_kit.spans import read_trace

_CHILD = """
import logging, sys
from pathlib import Path
import structlog
from liftos_kit import telemetry
from liftos_kit.telemetry import TelemetrySettings, configure

settings = TelemetrySettings(
    otlp_endpoint=sys.argv[1] or None, span_directory=Path(sys.argv[2]), log_format="json"
)
configured = configure("memory", settings)
metrics_server = configured.start_metrics_server(0, "127.0.0.1")
log = structlog.get_logger("liftos.test")
with telemetry.background_span("outbox.index", {}) as span:
    carrier = telemetry.inject_carrier()
    log.info("inside", dsn="postgresql://app:hunter2@db/liftos", rows=3, page_token_count=4)
    logging.getLogger("library").warning("connects with %s", "redis://:hunter2@cache:6379/0")
    logging.getLogger("httpx").info("HTTP Request: GET https://graph.test/act_1?proof=abc")
    with telemetry.milvus_span("search", "documents"):
        pass
    with telemetry.http_span("GET", "graph.test", "/act_1/insights") as call:
        call.set_attribute(telemetry.HTTP_STATUS, 200)
log.debug("not shown")
try:
    with telemetry.background_span("outbox.again", carrier):
        with telemetry.step_span("embed"):
            raise RuntimeError("token=hunter2 refused")
except RuntimeError:
    log.exception("failed")
telemetry.ingest_rows.add(7, {telemetry.OUTCOME: "inserted"})
telemetry.cache_requests.add(1, {telemetry.TIER: "process", telemetry.RESULT: "hit"})
try:
    configure("memory", settings)
except telemetry.TelemetryConfiguredError:
    log.info("configured once")
print(metrics_server.port, carrier["traceparent"], flush=True)
sys.stdin.readline()
metrics_server.close()
configured.shutdown()
"""


@dataclass(slots=True)
class Sink(
    trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer
):
    """An OTLP collector that remembers the names that it was sent."""

    spans: list[tuple[str, str]] = field(default_factory=list)
    metrics: set[str] = field(default_factory=set)

    async def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - the contract's name
        """Take spans or metrics."""
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            for resource in request.resource_spans:
                service = next(
                    a.value.string_value
                    for a in resource.resource.attributes
                    if a.key == "service.name"
                )
                self.spans += [
                    (service, span.name) for scope in resource.scope_spans for span in scope.spans
                ]
            return trace_service_pb2.ExportTraceServiceResponse()
        self.metrics |= {
            metric.name
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        return metrics_service_pb2.ExportMetricsServiceResponse()


@dataclass(frozen=True, slots=True)
class Observed:
    """What a configured process left behind."""

    log: list[dict[str, Any]]
    scraped: str
    traceparent: str
    span_directory: Path
    sink: Sink
    everything: str


@pytest.fixture(scope="module")
async def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """Return what a child process with all telemetry on sent, served and wrote."""
    directory = tmp_path_factory.mktemp("spans")
    sink = Sink()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
        sink, server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(  # type: ignore[no-untyped-call]
        sink, server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", _CHILD, f"http://127.0.0.1:{port}", str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    line = (await asyncio.wait_for(child.stdout.readline(), 30)).decode()
    if not line:
        pytest.fail((await child.communicate())[1].decode())
    metrics_port, traceparent = line.split()
    scraped = await asyncio.to_thread(_scrape, int(metrics_port))
    _, errors = await asyncio.wait_for(child.communicate(b"\n"), 30)
    await server.stop(None)
    assert child.returncode == 0, errors.decode()
    files = "".join(path.read_text() for path in directory.glob("*.jsonl"))
    return Observed(
        log=[json.loads(line) for line in errors.decode().splitlines()],
        scraped=scraped,
        traceparent=traceparent,
        span_directory=directory,
        sink=sink,
        everything=errors.decode() + files,
    )


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_log_lines_carry_the_ids_of_their_trace(observed: Observed) -> None:
    """Own and foreign log lines name the span they belong to, others none."""
    _, trace_id, span_id, flags = observed.traceparent.split("-")
    assert int(flags, 16) & 1 == 1
    by_event = {line["event"]: line for line in observed.log}
    own, foreign = by_event["inside"], by_event["connects with redis://[redacted]@cache:6379/0"]
    for line in (own, foreign):
        assert (line["trace_id"], line["span_id"]) == (trace_id, span_id)
    assert (own["level"], own["logger"], own["rows"]) == ("info", "liftos.test", 3)
    assert (foreign["level"], foreign["logger"]) == ("warning", "library")
    assert "trace_id" not in by_event["configured once"]
    assert "not shown" not in by_event
    assert 'raise RuntimeError("[redacted]' not in by_event["failed"]["exception"]
    assert "RuntimeError" in by_event["failed"]["exception"]


def test_no_secret_gets_out(observed: Observed) -> None:
    """Neither logs nor span files hold the password, wherever it was said."""
    assert "hunter2" not in observed.everything
    assert next(line for line in observed.log if line["event"] == "inside")["dsn"] == REDACTED


def test_background_work_joins_the_stored_trace(observed: Observed) -> None:
    """Work that was ordered inside a trace appears in it, with its failure."""
    spans = {s.name: s for s in read_trace(observed.span_directory, observed.traceparent[3:35])}
    assert set(spans) == {"outbox.index", "search documents", "GET", "outbox.again", "embed"}
    assert spans["outbox.again"].parent_id == spans["outbox.index"].span_id
    assert spans["embed"].parent_id == spans["outbox.again"].span_id
    assert (spans["outbox.again"].kind, spans["outbox.again"].status) == ("CONSUMER", "ERROR")
    assert spans["embed"].status_description == "token=[redacted] refused"
    search = spans["search documents"]
    assert search.parent_id == spans["outbox.index"].span_id
    assert search.attributes == {
        "db.system.name": "milvus",
        "db.operation.name": "search",
        "db.collection.name": "documents",
    }


def test_calls_over_http_are_spans_and_no_lines(observed: Observed) -> None:
    """A call is told of by its span alone, which says where it went and what came of it."""
    [call] = [
        it
        for it in read_trace(observed.span_directory, observed.traceparent[3:35])
        if it.name == "GET"
    ]
    assert (call.kind, call.attributes) == (
        "CLIENT",
        {
            "http.request.method": "GET",
            "server.address": "graph.test",
            "url.path": "/act_1/insights",
            "http.response.status_code": 200,
        },
    )
    assert "HTTP Request" not in observed.everything


def test_prometheus_can_scrape(observed: Observed) -> None:
    """The port of metrics serves what was counted, under Prometheus's names."""
    assert re.search(
        r'^liftos_ingest_rows_total\{.*liftos_outcome="inserted".*\} 7.0$',
        observed.scraped,
        re.MULTILINE,
    )
    assert re.search(
        r'^db_client_operation_duration_seconds_count\{.*db_system_name="milvus".*\} 1.0$',
        observed.scraped,
        re.MULTILINE,
    )
    assert 'service_name="memory"' in observed.scraped


def test_otlp_receives_traces_and_metrics(observed: Observed) -> None:
    """Shutting down sends what is left to the collector."""
    assert set(observed.sink.spans) == {
        ("memory", name)
        for name in ("outbox.index", "search documents", "GET", "outbox.again", "embed")
    }
    assert {"liftos.ingest.rows", "liftos.cache.requests", "db.client.operation.duration"} <= (
        observed.sink.metrics
    )


async def test_a_dead_collector_does_not_hold_up_the_end() -> None:
    """Shutting down gives up on a collector that does not answer, and still ends well."""
    script = (
        "import time; from liftos_kit import telemetry as t;"
        "c = t.configure('m', t.TelemetrySettings(otlp_endpoint='http://127.0.0.1:1'));"
        "t.ingest_rows.add(1); s = t.background_span('x', {}); s.__enter__();"
        "s.__exit__(None, None, None);"
        "start = time.monotonic(); c.shutdown(); print(time.monotonic() - start)"
    )
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    output, _ = await asyncio.wait_for(child.communicate(), 40)
    assert child.returncode == 0
    assert float(output) < 9


@pytest.mark.parametrize(
    ("kind", "attributes", "recorded"),
    [
        (SpanKind.SERVER, {"rpc.system.name": "grpc"}, True),
        (SpanKind.CLIENT, {"rpc.system.name": "grpc"}, True),
        (SpanKind.CONSUMER, None, True),
        (SpanKind.CLIENT, {"db.system.name": "postgresql"}, False),
        (SpanKind.CLIENT, None, False),
    ],
)
def test_only_work_begins_a_trace(
    kind: SpanKind, attributes: dict[str, str] | None, recorded: bool
) -> None:
    """Calls and background work are recorded; probes and pool connects by themselves are not."""
    for ratio in (1.0, 0.0):
        sampler = telemetry.WorkSampler(ratio)
        decision = sampler.should_sample(None, 1 << 63, "name", kind, attributes).decision
        assert (decision is Decision.RECORD_AND_SAMPLE) is (recorded and ratio == 1.0)


def test_names_are_unique_and_well_formed() -> None:
    """Every name constant is one dotted lower-case name, and none stands for two things."""
    names = [
        value
        for key, value in vars(telemetry).items()
        if key.isupper() and isinstance(value, str) and not key.startswith("_") and key != "SCOPE"
    ]
    assert len(names) > 20
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+(\.[a-z_]+)+", name)] == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("/* get_entry */ select 1", "get_entry"),
        ("select 1", "SELECT"),
        ("  commit;", "COMMIT"),
        ("/* unclosed", "/*"),
        ("", ""),
    ],
)
def test_statements_are_named_by_comment_or_first_word(query: str, name: str) -> None:
    """The name of a statement is never its text."""
    assert telemetry.statement_name(query) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://app:p%40ss@db:5432/liftos", "postgresql://[redacted]@db:5432/liftos"),
        ("redis://:hunter2@cache/0 and more", "redis://[redacted]@cache/0 and more"),
        ("http://host:8003/path?q=a@b", "http://host:8003/path?q=a@b"),
        ("authorization: Bearer abc.def-ghi_jkl", "authorization: Bearer [redacted]"),
        ("got eyJhbGciOi.eyJzdWIi.c2ln here", "got [redacted] here"),
        ("host=db password='hunter2' user=app", "host=db password='[redacted]' user=app"),
        ('{"secret": "hunter2", "n": 1}', '{"secret": "[redacted]", "n": 1}'),
        ("three tokens were issued", "three tokens were issued"),
        ("", ""),
    ],
)
def test_secrets_in_text_are_taken_out(text: str, expected: str) -> None:
    """What gives access goes, what explains stays."""
    assert redact_text(text) == expected


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("authorization", True),
        ("LIFTOS_JWT_SECRET", True),
        ("accessToken", True),
        ("api_key", True),
        ("private-key", True),
        ("postgres_dsn", True),
        ("write_token", True),
        ("primary_key", False),
        ("tokenizer", False),
        ("author", False),
    ],
)
def test_keys_are_secret_by_their_words(key: str, secret: bool) -> None:
    """Whole words decide, in any style of writing."""
    assert is_secret_key(key) is secret


# None is a word of what it is hidden in.
_passwords = st.text(st.characters(categories=["L", "N"]), min_size=12, max_size=20).map(
    "9{}".format
)


@given(
    password=_passwords,
    shape=st.sampled_from(["under key", "nested", "in list", "in url", "in bytes", "as pair"]),
)
def test_redaction_reaches_every_depth(password: str, shape: str) -> None:
    """Wherever a password hides in a value, the redacted value does not have it."""
    value: object = {
        "under key": {"password": password, "rows": 1},
        "nested": {"request": {"headers": {"Authorization": [password]}}},
        "in list": [1, ("x", f"https://user:{password}@host/")],
        "in url": f"postgresql://user:{password}@host/db",
        "in bytes": f"redis://:{password}@host".encode(),
        "as pair": {"error": f"connect failed: host=db password={password} port=1"},
    }[shape]
    assert password not in json.dumps(redact(value), ensure_ascii=False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(categories=["L"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["rows", "name"]), inner),
    )
)
def test_what_is_no_secret_stays(value: object) -> None:
    """Values without secrets come back equal."""
    assert redact(value) == value
