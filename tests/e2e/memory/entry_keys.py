"""Deletions of entries by natural key."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pyarrow as pa

from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_mapping.entry_fields import DATE_BASES, KEY_SCHEMA, LEVELS


def arrow_bytes(table: pa.Table) -> bytes:
    """Return a table as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def arrow_of_keys(entries: Sequence[entry_pb2.Entry]) -> bytes:
    """Return the natural keys of entries as a deletion takes them."""
    words = {"level": ("", *LEVELS), "date_basis": ("", *DATE_BASES)}

    def text(entry: entry_pb2.Entry, name: str) -> str:
        value: Any = getattr(entry, name)
        return words[name][value] if name in words else str(value)

    columns = {name: [text(entry, name) for entry in entries] for name in KEY_SCHEMA.names}
    return arrow_bytes(
        pa.table({name: pa.array(texts, pa.string()) for name, texts in columns.items()})
    )


async def delete_entries(
    client: Any,
    org: str,
    entries: Sequence[entry_pb2.Entry],
    *,
    origin: str,
    stream_id: str,
    sequence: int = 1,
) -> pb.IngestEntriesResponse:
    """Delete the entries with the keys of these, in one message of a stream."""

    async def messages() -> AsyncIterator[pb.IngestEntriesRequest]:
        yield pb.IngestEntriesRequest(
            parent=f"orgs/{org}",
            stream_id=stream_id,
            sequence=sequence,
            origin=origin,
            delete_arrow=arrow_of_keys(entries),
        )

    (answer,) = [answer async for answer in client.IngestEntries(messages())]
    assert not answer.item_errors
    found: pb.IngestEntriesResponse = answer
    return found
