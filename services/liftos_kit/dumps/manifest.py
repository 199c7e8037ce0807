"""What a dump holds, so that each file and each table can be held to it later."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from liftos_kit.dumps.errors import DumpError, DumpProblem

_FORMAT: Final = 1
_BLOCK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TableSum:
    """All rows of a table, whatever their order: their number and two sums over their digests.

    One sum alone would not see two changes that cancel out; together with the number, both do.
    """

    row_count: int
    exclusive_or: int
    total: int


@dataclass(frozen=True, slots=True)
class DumpedFile:
    """A file of the dump."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a dump holds, all of it as one snapshot of the database sees it.

    Attributes:
        create_time: When the data was as in the dump, by the clock of the database.
        database: Its name.
        owner: The role that owns the database.
        server_version: As `server_version_num` says it, 180004.
        system_identifier: Which cluster it came from.
        lsn: Where its log was.
        schemas: What was dumped; none where it was the whole database.
        has_access: Whether owners, rights and policies belong to it.
        roles: Roles that own something or have rights, with what they may do, as SQL has it.
        definitions_sha256: Digest of all definitions as SQL; empty without access.
        tables: By schema.table, as SQL writes the name.
        files: By path in the dump.
        labels: Words of the caller, such as the digest of a plan.
    """

    create_time: datetime
    database: str
    owner: str
    server_version: int
    system_identifier: str
    lsn: str
    schemas: tuple[str, ...]
    has_access: bool
    roles: Mapping[str, str]
    definitions_sha256: str
    tables: Mapping[str, TableSum]
    files: Mapping[str, DumpedFile]
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def server_major(self) -> int:
        """Version of the server, 18."""
        return self.server_version // 10_000

    @property
    def row_count(self) -> int:
        """Rows of all tables."""
        return sum(each.row_count for each in self.tables.values())

    @property
    def size_bytes(self) -> int:
        """Size of all files."""
        return sum(each.size_bytes for each in self.files.values())

    def to_json(self) -> bytes:
        """Write it; the same manifest gives the same bytes."""
        stored = asdict(self) | {"format": _FORMAT, "create_time": self.create_time.isoformat()}
        return json.dumps(stored, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            DumpError: It is not a manifest, or of a later version.
        """
        try:
            stored: dict[str, Any] = json.loads(content)
            version = stored.pop("format")
            if version == _FORMAT:
                return cls(
                    **stored
                    | {
                        "create_time": datetime.fromisoformat(stored["create_time"]),
                        "schemas": tuple(stored["schemas"]),
                        "tables": {
                            name: TableSum(**each) for name, each in stored["tables"].items()
                        },
                        "files": {
                            name: DumpedFile(**each) for name, each in stored["files"].items()
                        },
                    }
                )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DumpError(
                DumpProblem.DAMAGED,
                "the manifest cannot be read",
                remedy="use another dump; this one cannot be trusted",
            ) from error
        raise DumpError(
            DumpProblem.DAMAGED,
            f"the manifest has format {version}, and this version reads {_FORMAT}",
            remedy="use the version of LiftOS that made the dump, or a later one",
        )


def digest_files(folder: Path) -> dict[str, DumpedFile]:
    """Return size and digest of all files below a folder, by path in it."""
    return {
        str(path.relative_to(folder)): DumpedFile(path.stat().st_size, _sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_files(folder: Path, manifest: Manifest) -> None:
    """Hold the files of a dump to its manifest.

    Raises:
        DumpError: One is missing, too much, or not as it was written.
    """
    found = digest_files(folder)
    wrong = sorted(
        name
        for name in found.keys() | manifest.files.keys()
        if found.get(name) != manifest.files.get(name)
    )
    if wrong:
        raise DumpError(
            DumpProblem.DAMAGED,
            f"{len(wrong)} files of the dump are not as they were written",
            remedy="use another dump; this one cannot be trusted",
            details=wrong[:20],
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
