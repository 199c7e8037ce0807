"""Reading the worker's count of documents."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from liftos_cli.demo.index_progress import count_in, documents_written

METRICS = """# HELP liftos_outbox_documents_total Documents written to search, by outcome.
# TYPE liftos_outbox_documents_total counter
liftos_outbox_documents_total{otel_scope_name="liftos"} 1600.0
liftos_outbox_documents_created{otel_scope_name="liftos"} 1.7e+09
"""


@contextmanager
def serving(body: str) -> Iterator[str]:
    """Serve a text on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (METRICS, 1600),
        ("liftos_outbox_documents_total 3052.0\n", 3052),
        ("liftos_outbox_documents_total 1e+06\n", 1_000_000),
        ("# nothing yet\n", 0),
    ],
)
def test_the_count_is_read_from_the_metrics(text: str, count: int) -> None:
    """The counter counts, with labels or without; its time of creation does not."""
    assert count_in(text) == count


def test_a_worker_is_asked_over_http() -> None:
    """The count of a running worker is what its metrics say."""
    with serving(METRICS) as address:
        assert documents_written(address) == 1600


def test_a_worker_that_does_not_answer_is_not_at_zero() -> None:
    """Nothing is known of a worker that is away."""
    with serving(METRICS) as address:
        pass

    assert documents_written(address) is None
