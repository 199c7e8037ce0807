"""Raw platform rows to entries: the door for connectors, imports and migrations."""

from collections.abc import Sequence

import pyarrow as pa

from liftos_mapping.engine import TransformContext, TransformResult, evaluate
from liftos_mapping.language import Document, compile_mapping
from liftos_mapping.platforms import platform_mapping
from liftos_mapping.source_columns import RawColumns

__all__ = ["TransformContext", "TransformResult", "transform"]


def transform(
    platform: str,
    rows: Sequence[object] | pa.Table,
    context: TransformContext | None = None,
    *,
    document: Document | None = None,
) -> TransformResult:
    """Turns raw rows of a platform into entries.

    Any JSON value may stand anywhere; what cannot be read becomes a `RowError` and the other rows
    still give their entries. A field that no rule reads is named in `unmapped_fields`.

    Args:
        platform: `meta`, `google_ads`, `klaviyo` or `dbt`; any word with a mapping of its own.
        rows: Rows as the platform's API answers them, one object each, or a table of them with
            dotted names, which takes a fraction of the time.
        context: What the rows have in common and do not say themselves.
        document: A mapping in the mapping language, in place of the platform's.

    Raises:
        UnknownPlatformError: There is no mapping for the platform.
        InvalidFieldsError: The document is no mapping.
        TransformContextError: The context holds a value that no entry can have.
    """
    mapping = (
        platform_mapping(platform) if document is None else compile_mapping(platform, document)
    )
    if isinstance(rows, pa.Table):
        rows = RawColumns.of_table(rows)
    return evaluate(mapping, rows, context or TransformContext())
