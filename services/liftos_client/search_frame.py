"""Hits of a search as a frame."""

from collections.abc import Sequence
from typing import Final

import pandas as pd
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from liftos.memory.v1.document_pb2 import DocumentKind, ObjectRef, SearchHit
from liftos.memory.v1.entry_pb2 import DerivedMetrics, EntryLevel, Metrics
from liftos_client.arguments import enum_word
from liftos_client.frames import frame_in_units

_IDS: Final = tuple(
    field.name for field in ObjectRef.DESCRIPTOR.fields if field.name.endswith("_id")
)
DIMENSIONS: Final = (
    *("scale", "reach", "efficiency", "engagement", "conversion", "value", "price", "growth"),
    *("volatility", "seasonality", "recency", "longevity"),
)
"""What objects are compared in; a frame has each as `concept_…`, a percentile from 0 to 1."""

_DTYPES: Final = {
    FieldDescriptor.TYPE_STRING: "str",
    FieldDescriptor.TYPE_INT64: "Int64",
    FieldDescriptor.TYPE_DOUBLE: "Float64",
}


def frame_of_hits(hits: Sequence[SearchHit]) -> pd.DataFrame:
    """Return one row per hit; what a hit does not have is missing."""
    documents = [hit.document for hit in hits]
    objects = [document.object for document in documents]
    columns: dict[str, pd.Series] = {
        "score": pd.Series([hit.score for hit in hits], dtype="Float64"),
        "kind": _texts([enum_word(DocumentKind, document.kind) for document in documents]),
        "title": _texts([document.title for document in documents]),
        "platform": _texts([ref.platform for ref in objects]),
        "level": _texts([enum_word(EntryLevel, ref.level) if ref.level else "" for ref in objects]),
    }
    for name in _IDS:
        columns[name] = _texts([getattr(ref, name) for ref in objects])
    columns["scope"] = _texts([document.scope for document in documents])
    columns["record"] = _texts([document.record for document in documents])
    columns["text"] = _texts([document.text for document in documents])
    columns["explanation"] = _texts([hit.explanation for hit in hits])
    columns |= _numbers(Metrics.DESCRIPTOR, [hit.metrics for hit in hits])
    columns |= _numbers(DerivedMetrics.DESCRIPTOR, [hit.derived_metrics for hit in hits])
    ranges = [hit.metrics_date_range for hit in hits]
    columns["metrics_start_date"] = _days([each.start_date for each in ranges])
    columns["metrics_end_date"] = _days([each.end_date for each in ranges])
    columns["entry_count"] = pd.Series([hit.entry_count for hit in hits], dtype="Int64")
    for name in DIMENSIONS:
        places = [
            next((each.percentile for each in hit.concepts if each.dimension == name), None)
            for hit in hits
        ]
        columns[f"concept_{name}"] = pd.Series(places, dtype="Float64")
    return frame_in_units(pd.DataFrame(columns))


def _texts(values: Sequence[str]) -> pd.Series:
    return pd.Series([value or None for value in values], dtype="str")


def _days(values: Sequence[str]) -> pd.Series:
    return pd.to_datetime(_texts(values), format="%Y-%m-%d")


def _numbers(descriptor: Descriptor, messages: Sequence[Message]) -> dict[str, pd.Series]:
    return {
        field.name: pd.Series(
            [_value(message, field) for message in messages], dtype=_DTYPES[field.type]
        )
        for field in descriptor.fields
    }


def _value(message: Message, field: FieldDescriptor) -> object:
    if field.has_presence and not message.HasField(field.name):
        return None
    return getattr(message, field.name) or (0 if field.has_presence else None)
