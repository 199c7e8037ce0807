"""What copying and catching up need: records of the source, Core, and what was done so far."""

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import pyarrow as pa

from liftos_migration.capture_ports import SourceIdentity
from liftos_migration.domain.changes import Key
from liftos_migration.domain.inventory import Inventory
from liftos_migration.domain.mapping import Target
from liftos_migration.domain.moving import MovedTable
from liftos_migration.domain.preflight import CaptureMode
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.records import ArtifactRecord, NoteRecord, RateRecord
from liftos_migration.domain.rejects import RecordError, Refused, Reject
from liftos_migration.ledger_ports import Lease

CoreRecord: TypeAlias = ArtifactRecord | NoteRecord | RateRecord


class RowUnreadableError(Exception):
    """The source cannot evaluate a record, or gives what no record can hold.

    Attributes:
        error: What is wrong.
    """

    def __init__(self, error: RecordError) -> None:
        super().__init__(error.message)
        self.error = error


class CoreRefusedError(Exception):
    """Core refused a write for a reason that trying again does not mend; it says which."""


@dataclass(frozen=True, slots=True)
class Records:
    """Records of a table, as its projection gives them, in its order.

    Attributes:
        keys: Of each record; a part is None where a key column is null.
        entries: Their fields in Arrow, for entries; None otherwise.
        records: Their fields by name, for all else.
    """

    keys: Sequence[Key]
    entries: pa.RecordBatch | None
    records: Sequence[Mapping[str, Any]]

    def sha256(self) -> bytes:
        """Return the digest of their values."""
        digest = hashlib.sha256()
        if self.entries is not None:
            digest.update(self.entries.serialize())
        for record in self.records:
            digest.update(repr(sorted(record.items())).encode())
        return digest.digest()


class RowReader(Protocol):
    """Reads records of the source. `connection` is one that reads a snapshot.

    Every method raises `StoreUnavailableError` where the source does not answer.
    """

    async def inventory(self, connection: Any, schemas: Sequence[str]) -> Inventory:  # noqa: ANN401
        """Return the tables of some schemas, and all else that they have."""
        ...

    async def reads(self, connection: Any, table: MovedTable, org: str) -> Sequence[str]:  # noqa: ANN401
        """Return the tables that a projection reads beside the rows of its records.

        Its own table is among them where it reads other rows of that.
        """
        ...

    async def schema(self, connection: Any, schemas: Sequence[str]) -> Mapping[str, Sequence[str]]:  # noqa: ANN401
        """Return columns and keys of all tables as text; costs next to nothing."""
        ...

    async def bounds(self, connection: Any, projection: Projection, step: int) -> Sequence[Key]:  # noqa: ANN401
        """Return every so manieth key, in order."""
        ...

    async def keys(
        self,
        connection: Any,  # noqa: ANN401
        projection: Projection,
        after: Key | None,
        up_to: Key | None,
        limit: int,
    ) -> Sequence[Key]:
        """Return the next keys of a range, in order; None begins or ends with the table."""
        ...

    def range(
        self,
        connection: Any,  # noqa: ANN401
        projection: Projection,
        after: Key | None,
        up_to: Key | None,
    ) -> AsyncGenerator[Records, None]:
        """Yield the records of a range of keys in batches, in order.

        Raises:
            RowUnreadableError: One of those that follow cannot be read.
        """
        ...

    async def keyed(
        self,
        connection: Any,  # noqa: ANN401
        projection: Projection,
        keys: Sequence[Key],
    ) -> Records:
        """Return the records with some keys; those that are not there are left out.

        Raises:
            RowUnreadableError: One of them cannot be read.
        """
        ...

    async def normal(
        self,
        connection: Any,  # noqa: ANN401
        projection: Projection,
        keys: Sequence[Key],
    ) -> Sequence[Key]:
        """Return keys as the projection writes them, each once."""
        ...

    async def raw(
        self,
        connection: Any,  # noqa: ANN401
        projection: Projection,
        keys: Sequence[Key],
    ) -> Mapping[Key, dict[str, Any]]:
        """Return rows as the source has them, one for each key; they need not be readable."""
        ...

    async def identities(
        self,
        connection: Any,  # noqa: ANN401
        projection: Projection,
        keys: Sequence[Key],
    ) -> Sequence[Mapping[str, Any]]:
        """Return what tells the records of some keys apart on Core, whether or not they exist.

        Keys that no record can have are left out.
        """
        ...


class EntryStream(Protocol):
    """Entries on their way to Core, numbered by place among all that were given."""

    @property
    def acknowledged_count(self) -> int:
        """Rows and deletions that Core has answered for."""
        ...

    @property
    def unreported_count(self) -> int:
        """Those of them of which the answer was lost: what was refused is not known."""
        ...

    @property
    def refused_count(self) -> int:
        """Rows that were refused."""
        ...

    @property
    def told_count(self) -> int:
        """Those of them that `refused` has told."""
        ...

    async def write(self, rows: pa.RecordBatch) -> None:
        """Send entries; returns once they are on their way."""
        ...

    async def delete(self, keys: pa.Table) -> None:
        """Send natural keys of entries that the source no longer has."""
        ...

    async def flush(self) -> None:
        """Wait until Core has answered for all."""
        ...

    def refused(self) -> Sequence[Refused]:
        """Return what was refused since this was last asked."""
        ...


class CoreWriter(Protocol):
    """Writes to Core, fenced by the epoch of the worker.

    Every method raises `LeaseLostError` where a later worker has written, `CoreRefusedError`, and
    `StoreUnavailableError` where Core does not answer.
    """

    async def fence(self) -> None:
        """Refuse all workers of the migration before this one, from now on."""
        ...

    def entries(self, stream: str) -> AbstractAsyncContextManager[EntryStream]:
        """Open a stream of entries; its end waits for all acknowledgements."""
        ...

    async def write_records(self, records: Sequence[CoreRecord]) -> Sequence[Refused]:
        """Write artifacts, notes or exchange rates, of one kind; return those that were refused."""
        ...

    async def purge(self) -> None:
        """Delete all that the migration wrote last."""
        ...

    async def delete_records(self, target: Target, ids: Sequence[str]) -> int:
        """Delete artifacts or notes that the migration wrote last; return how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A range of a table's keys that is copied by itself.

    Attributes:
        table: The mapped table.
        number: From 1.
        after: It begins after this key; None with the first one.
        up_to: It ends with this key; None with the last one.
        last: Key up to which it is copied; None where nothing is.
        chunk_count: Chunks that are copied.
        row_count: Records in them.
        is_done: Whether all of it is copied.
    """

    table: str
    number: int
    after: Key | None
    up_to: Key | None
    last: Key | None = None
    chunk_count: int = 0
    row_count: int = 0
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class KeptCapture:
    """How changes of a source are seen.

    Attributes:
        mode: How.
        identity: Of what sees them.
        schema: Columns and keys of all tables when it was prepared, as text.
        generation: Of the migration when it was prepared.
        round_count: Rounds since then.
    """

    mode: CaptureMode
    identity: SourceIdentity
    schema: Mapping[str, Sequence[str]]
    generation: int
    round_count: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records that Core has answered for.

    Attributes:
        number: Within its part, from 1.
        last: The last key.
        row_count: Records, those that were refused among them.
        sha256: Digest of what was sent.
    """

    number: int
    last: Key
    row_count: int
    sha256: bytes


class CopyLedger(Protocol):
    """What was copied and what was refused; every method proves the lease, see `Ledger`."""

    async def parts(self, lease: Lease, table: str) -> Sequence[Part]:
        """Return the parts of a table in order; none where it was not cut yet."""
        ...

    async def cut(self, lease: Lease, table: str, bounds: Sequence[Key], *, row_count: int) -> None:
        """Cut a table with so many rows into parts; does nothing where it was cut before."""
        ...

    async def copied(
        self,
        lease: Lease,
        part: Part,
        chunk: Chunk,
        rejects: Sequence[Reject],
        key_columns: Sequence[str],
    ) -> None:
        """Keep a chunk with what was refused of it, in one transaction.

        A chunk that was kept before stays as it is.
        """
        ...

    async def finished(self, lease: Lease, part: Part) -> None:
        """Keep that all of a part is copied."""
        ...

    async def judged(
        self,
        lease: Lease,
        table: str,
        keys: Sequence[Key],
        rejects: Sequence[Reject],
        key_columns: Sequence[str],
    ) -> int:
        """Keep what became of records that were read again.

        Args:
            lease: Of the worker.
            table: The mapped table.
            keys: Of all of them; open rejects of theirs that are not among `rejects` are resolved.
            rejects: Those that were refused.
            key_columns: Names of the parts of keys.

        Returns:
            How many records of the table wait for a person.
        """
        ...

    async def open_rejects(self, lease: Lease) -> int:
        """Return how many rejects wait for a person."""
        ...

    async def capture_modes(self, lease: Lease) -> Sequence[CaptureMode]:
        """Return the modes that the newest preflight found, best first."""
        ...

    async def keep_capture(self, lease: Lease, capture: KeptCapture) -> None:
        """Keep how changes are seen, in place of what was kept before."""
        ...

    async def capture(self, lease: Lease) -> KeptCapture | None:
        """Return how changes are seen; None before that was prepared."""
        ...

    async def caught_up(self, lease: Lease, *, snapshot: str, applied: int) -> None:
        """Keep that Core has all that a snapshot sees.

        Args:
            lease: Of the worker.
            snapshot: As the source writes it.
            applied: Records that were written or deleted for it.
        """
        ...


NOT_COMPARABLE: Final = "NOT_COMPARABLE"
"""Code of a step that failed since a table cannot be compared, a record of it perhaps."""


class WholeTables(Protocol):
    """Compares whole tables where changes do not tell which records they are of.

    `context` is that of the step, and `connection` reads the snapshot that counts.
    """

    async def differing(
        self,
        context: Any,  # noqa: ANN401
        connection: Any,  # noqa: ANN401
        tables: Sequence[MovedTable],
        of: Sequence[MovedTable],
    ) -> Mapping[str, "Differing"]:
        """Return what has to be written and deleted so that Core has what the snapshot has.

        Args:
            context: Of the step.
            connection: The snapshot.
            tables: All tables that move: what none of them gives is extra on Core.
            of: Those that are asked for.

        Returns:
            By name, those among them that differ.

        Raises:
            StepFailedError: `NOT_COMPARABLE`, a table or a record of it cannot be read.
        """
        ...

    async def write_artifact(
        self,
        context: Any,  # noqa: ANN401
        connection: Any,  # noqa: ANN401
        table: MovedTable,
    ) -> int:
        """Write a whole table as artifacts, if it changed; return its rows."""
        ...


@dataclass(frozen=True, slots=True)
class Differing:
    """How Core differs from a snapshot.

    Attributes:
        keys: Of records that are missing on Core or have other values there.
        extra: What tells records apart that are on Core alone.
    """

    keys: Sequence[Key]
    extra: Sequence[Mapping[str, Any]]
