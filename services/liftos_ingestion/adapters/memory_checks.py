"""Memory as the one that knows platforms and the rules of entries, over its typed client."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc

from liftos_client import Client
from liftos_client.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    FenceClosedError,
    FieldInvalidError,
    OverloadedError,
    UnavailableError,
)
from liftos_ingestion.adapters.memory import STORE
from liftos_ingestion.catalog_ports import NewSource
from liftos_ingestion.run_ports import Refused
from liftos_kit.core import errors


class MemoryEntryChecks:
    """Asks Memory; see `liftos_ingestion.catalog_ports.EntryChecks`.

    Args:
        client_of: Gives the client of an org.
    """

    def __init__(self, client_of: Callable[[str], Client]) -> None:
        self._client_of = client_of

    async def register(self, org: str, spec: NewSource) -> None:
        """Let entries carry a source as their platform, and have its rows mapped as here."""
        with _translated():
            try:
                await self._client_of(org).memory.upsert_source(
                    spec.source, display_name=spec.display_name, mapping=spec.mapping
                )
            except AlreadyExistsError:
                # Memory has it for every org, as it has `commerce`.
                return

    async def check(self, org: str, rows: pa.Table) -> Sequence[Refused]:
        """Return the rows that a write would refuse."""
        place = rows.schema.get_field_index("final")
        rows = rows.set_column(place, "final", pc.fill_null(rows["final"], False))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        with _translated():
            answer = await self._client_of(org).memory.batch_upsert_entries(
                sink.getvalue().to_pybytes(), validate_only=True
            )
        return [Refused(it.index, it.field, it.rule, it.message) for it in answer.item_errors]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FieldInvalidError as error:
        raise errors.InvalidFieldsError(
            errors.FieldViolation(it.field, it.description, it.rule)
            for it in error.field_violations
        ) from error
    except FenceClosedError as error:
        raise errors.FenceClosedError(
            error.metadata["scope"], epoch=int(error.metadata["epoch"])
        ) from error
    except (UnavailableError, DeadlineExceededError, OverloadedError) as error:
        raise errors.StoreUnavailableError(
            STORE, retry_after_seconds=error.retry_after_seconds or 1.0
        ) from error
