"""A worker that is killed in the midst of embedding everything anew: the next one goes on."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from tests.e2e.memory.conftest import ClientFactory
from tests.e2e.memory.indexing_harness import (
    eventually,
    opened_index,
    opened_pieces,
    running_milvus,
)
from tests.e2e.memory.memory_process import memory_process

from liftos.memory.v1 import artifact_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.settings import load
from liftos_kit.testing.server import SECRET
from liftos_local.testing import TestDatabase
from liftos_memory.adapters.embedders import open_embedder
from liftos_memory.search_ports import SearchScope
from liftos_memory.settings import MemorySettings

NOTES: Final = 300
DIMENSION: Final = 16
GROUP: Final = 128
"""Documents that a worker embeds before it writes them."""


class GatedModel(ThreadingHTTPServer):
    """An embeddings server that keeps what it was asked, and after some batches waits."""

    daemon_threads = True

    def __init__(self, *, free_batches: int) -> None:
        super().__init__(("127.0.0.1", 0), _Embeddings)
        self.batches: list[list[str]] = []
        self.free_batches = free_batches
        self.is_open = threading.Event()

    @property
    def setting(self) -> str:
        """How a worker is told of it."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1#gated@{DIMENSION}"


class _Embeddings(BaseHTTPRequestHandler):
    server: GatedModel

    def do_POST(self) -> None:
        """Answer with a vector for each text."""
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        self.server.batches.append(texts)
        if len(self.server.batches) > self.server.free_batches:
            self.server.is_open.wait(60)
        vectors = [
            np.random.default_rng(sum(text.encode())).normal(size=DIMENSION).tolist()
            for text in texts
        ]
        data = [{"index": place, "embedding": vector} for place, vector in enumerate(vectors)]
        body = json.dumps({"data": data}).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # whoever asked was killed

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's word
        """Print nothing."""


@pytest.fixture
def model() -> Iterator[GatedModel]:
    """A model that embeds a group and a half, and then waits."""
    with GatedModel(free_batches=3) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.is_open.set()
        server.shutdown()
        thread.join()


async def test_a_killed_worker_has_not_embedded_in_vain(
    database: TestDatabase,
    memory_client: ClientFactory,
    model: GatedModel,
    org: str,
    tmp_path: Path,
) -> None:
    """The old index serves meanwhile; what was embedded and written is not done again."""
    client = memory_client(org)
    notes = [
        artifact_pb2.Note(name=f"orgs/{org}/notes/n-{n}", scope="causal", text=f"word{n} of {org}")
        for n in range(NOTES)
    ]
    await client.BatchUpsertNotes(pb.BatchUpsertNotesRequest(parent=f"orgs/{org}", notes=notes))
    async with running_milvus(tmp_path) as milvus:
        variables = {**database.environment, "LIFTOS_MILVUS_URL": milvus.url}
        own = {"LIFTOS_PORT": "0", "LIFTOS_JWT_SECRET": SECRET}
        settings = load(
            MemorySettings,
            {name: value for name, value in variables.items() if "OWNER" not in name} | own,
        )
        variables["LIFTOS_EMBEDDER"] = model.setting
        embedder = open_embedder(model.setting, threads=1)
        async with opened_pieces(settings) as pieces, opened_index(settings, embedder) as index:
            await pieces.index.ensure()
            await pieces.catch_up()
            async with memory_process("worker", variables, log=tmp_path / "first") as first:

                async def waits() -> bool:
                    return len(model.batches) > model.free_batches

                await eventually(waits, within_seconds=60)
                os.kill(first.pid, signal.SIGKILL)
                await first.wait()
            scope, vector = SearchScope(org), np.ones(DIMENSION, np.float32) / DIMENSION**0.5
            assert await pieces.index.count(org) == NOTES
            assert await pieces.index.search_lexical(scope, "word7", 5)
            async with index.rebuild() as begun:
                written = await begun.list_ids(org)
                assert len(written) == GROUP
            model.is_open.set()
            async with memory_process("worker", variables, log=tmp_path / "second"):

                async def serves() -> bool:
                    return len(await index.search_dense(scope, vector, NOTES)) == NOTES

                await eventually(serves, within_seconds=60)
            assert await index.list_ids(org) == {
                each.document_id: each.content_hash for each in (await pieces.stored(org)).values()
            }
        await embedder.close()
    texts = [text for batch in model.batches for text in batch]
    assert len(set(texts)) == NOTES
    again = {text for text in texts if texts.count(text) > 1}
    assert not again & {text for batch in model.batches[:2] for text in batch}
    assert len(again) <= GROUP, "only what was under way"
