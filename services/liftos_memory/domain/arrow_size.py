"""How large an Arrow payload becomes: few bytes can stand for very many.

Buffers may be compressed, and a dictionary holds a text once that stands in every row. Both are
measured before anything is made of them.
"""

from struct import Struct
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_U16: Final = Struct("<H")
_I32: Final = Struct("<i")
_U32: Final = Struct("<I")
_I64: Final = Struct("<q")
_BUFFER: Final = Struct("<qq")

# Fields of the tables of Arrow's Message.fbs, by their place.
_HEADER_TYPE: Final = 1
_HEADER: Final = 2
_DICTIONARY_BATCH: Final = 2
_DATA_OF_DICTIONARY: Final = 1
_BUFFERS: Final = 2
_COMPRESSION: Final = 3

_NOT_COMPRESSED: Final = -1


def decompressed_bytes(data: bytes) -> int:
    """Return the size of all buffers of an IPC stream once they are decompressed.

    Source: the Arrow columnar format, "Encapsulated message format" and "Buffer compression".

    Raises:
        pyarrow.ArrowInvalid: The bytes are no stream.
        struct.error: A message is damaged.
    """
    return sum(
        _body_bytes(memoryview(message.metadata), memoryview(message.body))
        for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(data))
        if message.type in ("record batch", "dictionary") and message.body is not None
    )


def decoded_bytes(table: pa.Table) -> int:
    """Return the size of texts that rows share, once each row has its own.

    Rows share texts through dictionaries and through views.
    """
    return sum(_decoded_bytes(chunk) for column in table.columns for chunk in column.chunks)


def _decoded_bytes(array: pa.Array) -> int:
    shared = array.dictionary if pa.types.is_dictionary(array.type) else array
    if not pa.types.is_string_view(shared.type) and not _is_binary(shared.type):
        return 0
    if shared is not array:
        lengths = pa.array(_lengths(shared))
        return int(pc.sum(lengths.take(array.indices)).as_py() or 0)
    return int(_lengths(array).sum()) if pa.types.is_string_view(array.type) else 0


def _lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    """Return the bytes of each text, 0 for a null."""
    if not pa.types.is_string_view(array.type):
        lengths = pc.binary_length(array).cast(pa.int64()).fill_null(0)
        return np.asarray(lengths, dtype=np.int64)
    if len(array) == 0:
        return np.zeros(0, np.int64)
    # A view is sixteen bytes that begin with the length; that of a null may be anything.
    views = np.frombuffer(array.buffers()[1], dtype="<i4")[::4]
    lengths = views[array.offset : array.offset + len(array)].astype(np.int64)
    lengths[np.asarray(array.is_null())] = 0
    return lengths


def _is_binary(type_: pa.DataType) -> bool:
    return any(
        is_it(type_)
        for is_it in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def _body_bytes(metadata: memoryview, body: memoryview) -> int:
    message = _follow(metadata, 0)
    header = _follow(metadata, _place(metadata, message, _HEADER))
    if metadata[_place(metadata, message, _HEADER_TYPE)] == _DICTIONARY_BATCH:
        header = _follow(metadata, _place(metadata, header, _DATA_OF_DICTIONARY))
    buffers = _place(metadata, header, _BUFFERS)
    if not buffers or not _place(metadata, header, _COMPRESSION):
        return len(body)
    start = _follow(metadata, buffers)
    (count,) = _U32.unpack_from(metadata, start)
    total = 0
    for index in range(count):
        offset, length = _BUFFER.unpack_from(metadata, start + 4 + index * _BUFFER.size)
        if length:
            # A compressed buffer begins with its size before.
            (size,) = _I64.unpack_from(body, offset)
            total += max(length if size == _NOT_COMPRESSED else size, 0)
    return total


def _follow(view: memoryview, place: int) -> int:
    (distance,) = _U32.unpack_from(view, place)
    return place + int(distance)


def _place(view: memoryview, table: int, field: int) -> int:
    """Return where a field of a table is, 0 where it is unset."""
    (back,) = _I32.unpack_from(view, table)
    vtable = table - back
    (vtable_bytes,) = _U16.unpack_from(view, vtable)
    slot = 4 + 2 * field
    if slot >= vtable_bytes:
        return 0
    (offset,) = _U16.unpack_from(view, vtable + slot)
    return table + offset if offset else 0
