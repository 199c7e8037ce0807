"""The examples of docs/client.md, run as they stand."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from tests.inprocess.client.fake_ingestion import FakeIngestion, serving_ingestion
from tests.inprocess.client.fake_memory import FakeMemory, serving, unsigned_token

from liftos.memory.v1.entry_pb2 import Entry, EntryLevel
from liftos_client import UnifiedDataAPI
from liftos_client.sync import LoopThread

_PAGE = Path(__file__).parents[3] / "docs" / "client.md"
_EXAMPLES = re.findall(r"```python\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def served(memory: FakeMemory) -> Iterator[Mapping[str, str]]:
    """Servers in another thread, so that examples may block: their address by the documented."""
    thread = LoopThread()
    ingestion = FakeIngestion()  # type: ignore[abstract]  # what it lacks is UNIMPLEMENTED
    servers = {
        "localhost:8003": serving(memory),
        "localhost:8006": serving_ingestion(ingestion),
    }
    yield {documented: thread.run(it.__aenter__()) for documented, it in servers.items()}
    for server in servers.values():
        thread.run(server.__aexit__(None, None, None))
    thread.close()


def test_every_example_runs_as_it_stands(served: Mapping[str, str], memory: FakeMemory) -> None:
    """One after the other, as a reader would, with only the addresses changed."""
    memory.entries = [Entry(name="orgs/acme/entries/x", level=EntryLevel.ENTRY_LEVEL_CAMPAIGN)]
    table = pa.table(
        {
            "period_start_date": pa.array([date(2026, 1, 5)], pa.date32()),
            "platform": ["meta"],
            "campaign_id": ["1"],
            "date_basis": ["INTERACTION"],
            "breakdown": [""],
            "currency_code": ["USD"],
            "spend_micros": [1_000_000],
            "roas": [2.5],
            "entry_count": [1],
            "quality_score": [1.0],
            "final": [True],
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    memory.arrow_pieces = [bytes(sink.getvalue())]
    names: dict[str, object] = {"token": unsigned_token()}
    runner = LoopThread()
    for number, documented_example in enumerate(_EXAMPLES):
        example = documented_example
        for documented, address in served.items():
            example = example.replace(documented, address)
        code = compile(
            example,
            f"example {number}",
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(eval(code, names))
        else:
            exec(code, names)
    runner.close()
    data = names["data"]
    assert isinstance(data, UnifiedDataAPI)
    data.client.close()
    assert [bool(message.arrow) for message in memory.streams["warehouse/2026"].applied] == [
        True,
        True,
    ]
    assert memory.streams["meta/act_7"].applied[-1].commit_slice.raw == b'{"data": []}'


def test_the_notebook_needs_five_lines() -> None:
    """Import, connect, query, search: no more than five lines of code."""
    lines = [line for line in _EXAMPLES[0].splitlines() if line.strip()]
    assert len(lines) <= 5
