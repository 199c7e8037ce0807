"""Files as a source: CSV, JSON lines and Parquet, local or in an object store, without code.

A definition says where files are, which of them hold which level, and whose numbers they are:

    {
      "place": {"kind": "s3", "bucket": "exports", "region": "eu-central-1"},
      "files": [{"level": "OUTCOME", "pattern": "orders/{date}/*.csv.gz", "format": "csv"}],
      "accounts": [{"account_id": "shop", "time_zone": "Europe/Berlin", "currency_code": "EUR"}],
      "account_field": "store"
    }

The day of a row is the mapping's `date`, or the `{date}` of its path where the mapping has none or
the row does not say. A reading takes the rows of the days that are asked for, of all files that may
hold them. Where the mapping groups rows, all that belongs together is summed before it is given.

Local files lie below the folder that the operator allows, each org's in a folder of its name. An
object store is asked with the connection's credential, or anonymously: never with credentials of
the machine that the worker runs on.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from liftos_ingestion.adapters.sources.asked_rows import PATH_DATE, AskedRows
from liftos_ingestion.adapters.sources.file_formats import FileFormat, Row, damaged, read_batches
from liftos_ingestion.adapters.sources.file_patterns import (
    FilePattern,
    MatchedFile,
    PatternError,
    parse_pattern,
)
from liftos_ingestion.adapters.sources.own_accounts import (
    ACCOUNTS_SCHEMA,
    TIMES_SCHEMA,
    accounts_of,
    level_violations,
    require,
    whole_number,
)
from liftos_ingestion.adapters.sources.public_addresses import allowed_address
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.rate_limits import account_key, gate
from liftos_ingestion.source_ports import (
    CallGate,
    Capabilities,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformObject,
    ReadRequest,
    SourceSession,
    Verified,
    query_hash,
)
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.secrets.secret import Secret
from liftos_mapping.entry_fields import LEVELS
from liftos_mapping.mapping import PlatformMapping
from liftos_mapping.transform import TransformContext

MAXIMUM_FILES: Final = 100_000
"""Files below the folders of a pattern; more are too many to list for each reading."""

_GCS_PATIENCE: Final = timedelta(seconds=60)
_FORMATS: Final = ("csv", "jsonl", "parquet")

FILES_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "place": {
            "type": "object",
            "properties": {
                "kind": {"enum": ["local", "s3", "gcs"]},
                "bucket": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$"},
                "region": {"type": "string", "pattern": "^[a-z0-9-]{1,40}$"},
                "endpoint": {
                    "type": "string",
                    "pattern": "^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
                    "description": "Of a store that speaks S3; HTTPS unless the operator allows "
                    "private addresses.",
                },
            },
            "required": ["kind"],
            "additionalProperties": False,
        },
        "files": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "type": "object",
                "properties": {
                    "level": {"enum": list(LEVELS)},
                    "pattern": {"type": "string", "minLength": 1, "maxLength": 500},
                    "format": {"enum": list(_FORMATS)},
                    "delimiter": {"type": "string", "pattern": '^[^\\r\\n"]$'},
                    "encoding": {"enum": ["utf-8", "utf-16", "latin-1", "cp1252"]},
                },
                "required": ["level", "pattern", "format"],
                "additionalProperties": False,
            },
        },
        "accounts": ACCOUNTS_SCHEMA,
        "account_field": {"type": "string", "minLength": 1, "maxLength": 200},
        **TIMES_SCHEMA,
    },
    "required": ["place", "files", "accounts"],
    "additionalProperties": False,
}
"""JSON Schema of a definition."""

_CREDENTIALS: Final[Mapping[str, Sequence[str]]] = {
    "local": (),
    "s3": ("access_key_id", "secret_access_key", "session_token"),
    "gcs": ("access_token",),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where files are.

    Attributes:
        kind: local, s3 or gcs.
        bucket, region, endpoint: Of an object store; empty where the store's own is meant.
    """

    kind: str
    bucket: str = ""
    region: str = ""
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files of one level that are written in one way."""

    level: str
    pattern: FilePattern
    format: FileFormat


@dataclass(frozen=True, slots=True)
class FilesDefinition:
    """A definition that can be used."""

    place: Place
    files: tuple[FileSet, ...]
    accounts: tuple[PlatformAccount, ...]
    account_field: str
    restatement_days: int
    days_per_read: int


def read_files_definition(definition: JsonObject, mapping: PlatformMapping) -> FilesDefinition:
    """Read a definition.

    Raises:
        InvalidFieldsError: It breaks rules; names every one, by path.
    """
    require(FILES_SCHEMA, definition)
    accounts, violations = accounts_of(definition)
    account_field = str(definition.get("account_field") or "")
    given = definition["files"]
    assert isinstance(given, Sequence), "by the schema"
    files = []
    for index, it in enumerate(given):
        at = f"definition.files[{index}].pattern"
        try:
            pattern = parse_pattern(str(it["pattern"]))
        except PatternError as error:
            violations.append(FieldViolation(at, str(error), "pattern"))
            continue
        written = FileFormat(
            str(it["format"]), str(it.get("delimiter", ",")), str(it.get("encoding", "utf-8"))
        )
        files.append(FileSet(str(it["level"]), pattern, written))
        if len(accounts) > 1 and not (account_field or pattern.has_account):
            problem = "has no {account}, and there are several accounts; set account_field"
            violations.append(FieldViolation(at, problem, "account"))
        if not pattern.has_date and not _has_date(mapping):
            problem = "has no {date}, and the mapping has no date; one of them has to say the day"
            violations.append(FieldViolation(at, problem, "date"))
    if mapping.grouping is not None and not _has_date(mapping):
        problem = f"is needed with an aggregate; group by {PATH_DATE} for the day of the path"
        violations.append(FieldViolation("mapping.columns.date", problem, "required"))
    violations += level_violations(mapping, "files", [it.level for it in files])
    place, problems = _place(definition["place"])
    violations += problems
    if violations:
        raise InvalidFieldsError(violations)
    return FilesDefinition(
        place,
        tuple(files),
        accounts,
        account_field,
        whole_number(definition, "restatement_days", 7),
        whole_number(definition, "days_per_read", 31),
    )


def _has_date(mapping: PlatformMapping) -> bool:
    return any(rule.target == "date" for rule in mapping.columns)


def _place(given: object) -> tuple[Place, list[FieldViolation]]:
    assert isinstance(given, Mapping), "by the schema"
    place = Place(**{key: str(value) for key, value in given.items()})
    needed = [] if place.kind == "local" else ["bucket"]
    foreign = {"local": ("bucket", "region", "endpoint"), "gcs": ("region",)}.get(place.kind, ())
    violations = [
        FieldViolation(f"definition.place.{key}", f"is required for {place.kind}", "required")
        for key in needed
        if not getattr(place, key)
    ]
    violations += [
        FieldViolation(f"definition.place.{key}", f"does not exist for {place.kind}", "unknown")
        for key in foreign
        if getattr(place, key)
    ]
    return place, violations


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as it was when it was found; another size or time is another file."""

    path: str
    size_bytes: int
    modified: datetime | None
    files: FileSet
    said: MatchedFile


class FileSource:
    """Files of an org; see the module.

    Args:
        platform: The word that its entries carry.
        display_name: Shown to people.
        definition: Where files are.
        mapping: How rows become entries.
        local_directory: What holds a folder for each org; None where files are never local.
        private_allowed: Whether an endpoint may have a private address.
    """

    def __init__(
        self,
        platform: str,
        display_name: str,
        definition: FilesDefinition,
        mapping: PlatformMapping,
        *,
        local_directory: Path | None,
        private_allowed: bool,
    ) -> None:
        levels = {files.level for files in definition.files}
        self.platform = platform
        self.display_name = display_name
        self.definition: Final = definition
        self.accounts: Final = definition.accounts
        self.raw_mapping: Final = mapping
        # Rows are grouped here, over all files, before anybody maps them page by page.
        self.mapping = mapping.grouped()
        self.capabilities = Capabilities(
            levels=tuple(level for level in LEVELS if level in levels),
            date_bases=(mapping.date_basis,),
            restatement_days=definition.restatement_days,
            retention_days=0,
            days_per_read=definition.days_per_read,
            totals=False,
        )
        fields = _CREDENTIALS[definition.place.kind]
        self.credential_schema: JsonObject = {
            "type": "object",
            "properties": {name: {"type": "string", "minLength": 1} for name in fields},
            "dependentRequired": {"access_key_id": ["secret_access_key"]}
            if definition.place.kind == "s3"
            else {},
            "additionalProperties": False,
        }
        self.settings_schema: JsonObject = {"type": "object", "additionalProperties": False}
        self._local_directory = local_directory
        self._private_allowed = private_allowed

    @asynccontextmanager
    async def open(
        self, credential: Mapping[str, Secret], settings: JsonObject, gate: CallGate
    ) -> AsyncIterator[SourceSession]:
        """Begin a session.

        Raises:
            ReadingError: The place cannot be reached from here.
        """
        del settings
        place = self.definition.place
        if place.kind == "local":
            yield FileSession(self, gate, *self._local(gate.org))
            return
        if place.endpoint:
            address = urlsplit(place.endpoint)
            if address.scheme != "https" and not self._private_allowed:
                raise _failure(ErrorClass.PERMANENT, "The endpoint has to be HTTPS.")
            await allowed_address(
                str(address.hostname), address.port or 443, private_allowed=self._private_allowed
            )
        store = _object_store(place, {name: it.reveal() for name, it in credential.items()})
        yield FileSession(self, gate, store, place.bucket)

    def _local(self, org: str) -> tuple[fs.FileSystem, str]:
        if self._local_directory is None:
            raise _failure(
                ErrorClass.PERMANENT,
                "Local files cannot be read here; have the operator set "
                "LIFTOS_SOURCE_FILES_DIRECTORY, or use an object store.",
            )
        folder = self._local_directory.resolve() / org
        if not folder.is_dir():
            raise _failure(
                ErrorClass.TRANSIENT, f"The folder {org} is not in the operator's directory."
            )
        return fs.LocalFileSystem(), str(folder)


def _object_store(place: Place, secrets: Mapping[str, str]) -> fs.FileSystem:
    address = urlsplit(place.endpoint)
    elsewhere = {"endpoint_override": address.netloc, "scheme": address.scheme}
    options = elsewhere if place.endpoint else {}
    if place.kind == "gcs":
        token = secrets.get("access_token")
        if token is None:
            return fs.GcsFileSystem(anonymous=True, retry_time_limit=_GCS_PATIENCE, **options)
        # When it ends is the store's to say.
        expiry = datetime.now(UTC) + timedelta(hours=1)
        return fs.GcsFileSystem(
            access_token=token,
            credential_token_expiration=expiry,
            retry_time_limit=_GCS_PATIENCE,
            **options,
        )
    return fs.S3FileSystem(
        access_key=secrets.get("access_key_id"),
        secret_key=secrets.get("secret_access_key"),
        session_token=secrets.get("session_token"),
        anonymous="access_key_id" not in secrets,
        region=place.region or "us-east-1",
        connect_timeout=10,
        request_timeout=60,
        **options,
    )


class FileSession:
    """One session over one place; see `liftos_ingestion.source_ports.SourceSession`."""

    def __init__(self, source: FileSource, gate: CallGate, store: fs.FileSystem, root: str) -> None:
        self._source = source
        self._gate = gate
        self._store = store
        self._root = root

    async def verify(self) -> Verified:
        """List the files of every pattern, and name the accounts of the definition.

        Raises:
            ReadingError: The place cannot be listed, or no file matches.
        """
        definition = self._source.definition
        for files in definition.files:
            await asyncio.to_thread(self._listed, files, None)
        return Verified(definition.accounts)

    async def objects(self, account: PlatformAccount) -> AsyncGenerator[PlatformObject, None]:
        """Yield nothing: files hold numbers, and the names that their rows have."""
        del account
        return
        yield

    async def read(
        self, request: ReadRequest, job: PlatformJob | None
    ) -> AsyncGenerator[Page | PlatformJob, None]:
        """Yield the rows of the days that are asked for.

        Raises:
            ReadingError: INVALID_DATA where a file is not whole; TRANSIENT where one changed while
                it was read; TOO_LARGE where there are too many groups.
        """
        del job
        account = request.account.account_id
        found = await asyncio.to_thread(self._wanted, request)
        question = query_hash(*self._questions(request))
        asked = AskedRows(self._source.raw_mapping, request, query_hash=question)
        for file in found:
            await self._gate.enter(
                (gate(account_key(self._gate.org, self._source.platform, account)),)
            )
            self._gate.received(file.size_bytes)
            batches = self._batches(file)
            while (rows := await asyncio.to_thread(next, batches, None)) is not None:
                mine = _of_account(rows, self._source.definition.account_field, account, file)
                ready = await asyncio.to_thread(asked.take, mine, file.said.day)
                if ready:
                    yield Page(
                        ready,
                        TransformContext(date=file.said.day),
                        request_id=file.path,
                        query_hash=question,
                    )
        await asyncio.to_thread(self._require_unchanged, found, request)
        for page in asked.rest():
            yield page

    def _questions(self, request: ReadRequest) -> Iterator[JsonObject]:
        """Yield which files are looked for, and whose days in them."""
        for files in self._source.definition.files:
            if files.level == request.level:
                yield {
                    "pattern": files.pattern.source,
                    "account_id": request.account.account_id,
                    "start_date": request.start_date.isoformat(),
                    "end_date": request.end_date.isoformat(),
                }

    # --- Files, in a thread ---

    def _wanted(self, request: ReadRequest) -> list[FoundFile]:
        """Return the files that may hold rows of the request, in the order of their paths."""
        return [
            file
            for files in self._source.definition.files
            if files.level == request.level
            for file in self._listed(files, request.account.account_id)
            if file.said.day is None or request.start_date <= file.said.day <= request.end_date
        ]

    def _listed(self, files: FileSet, account_id: str | None) -> list[FoundFile]:
        folder = "/".join(it for it in (self._root, files.pattern.folder) if it)
        try:
            infos = self._store.get_file_info(fs.FileSelector(folder, recursive=True))
        except OSError as error:
            raise _store_failure(error, files.pattern.folder or "the place") from error
        if len(infos) > MAXIMUM_FILES:
            raise _failure(
                ErrorClass.PERMANENT,
                f"There are more than {MAXIMUM_FILES} files below {files.pattern.folder!r}; begin "
                "the pattern with the folder that has the files.",
            )
        matched = []
        for info in sorted(infos, key=lambda it: it.path):
            path = info.path.removeprefix(self._root).lstrip("/")
            said = files.pattern.match(path) if info.type == fs.FileType.File else None
            if said is not None:
                matched.append(FoundFile(path, info.size, info.mtime, files, said))
        if not matched:
            # A folder that is away must never look like days on which nothing happened.
            raise _failure(ErrorClass.TRANSIENT, "There is no file that the pattern matches.")
        return [
            it for it in matched if account_id is None or it.said.account_id in (None, account_id)
        ]

    def _batches(self, file: FoundFile) -> Iterator[list[Row]]:
        path = f"{self._root}/{file.path}"
        try:
            if self._root and isinstance(self._store, fs.LocalFileSystem):
                _require_inside(Path(path), Path(self._root))
            opened: pa.NativeFile
            if file.files.format.name == "parquet":
                opened = self._store.open_input_file(path)
            else:
                opened = self._store.open_input_stream(path, compression="detect")
            with opened:
                yield from read_batches(opened, file.files.format, file.path)
        except OSError as error:
            raise _store_failure(error, file.path) from error

    def _require_unchanged(self, found: Sequence[FoundFile], request: ReadRequest) -> None:
        after = self._wanted(request)
        if [*found] != after:
            changed = sorted(
                {it.path for it in found}.symmetric_difference(it.path for it in after)
                or {a.path for a, b in zip(found, after, strict=True) if a != b}
            )
            raise _failure(
                ErrorClass.TRANSIENT, f"{changed[0]} changed while it was read; it is read again."
            )


def _of_account(rows: list[Row], field: str, account_id: str, file: FoundFile) -> list[Row]:
    if not field:
        return rows
    mine = []
    for row in rows:
        value = row.get(field)
        if value is None or value == "":
            raise damaged(file.path, f"has a row without {field}, so whose it is is unknown")
        if str(value).strip() == account_id:
            mine.append(row)
    return mine


def _require_inside(path: Path, root: Path) -> None:
    """Refuse a link that leads out of the org's folder."""
    if not path.resolve().is_relative_to(root):
        raise damaged(path.name, "is a link that leads out of the folder")


_REFUSED: Final = ("ACCESS_DENIED", "PERMISSION_DENIED")
_UNKNOWN: Final = ("INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "UNAUTHENTICATED")


def _store_failure(error: OSError, what: str) -> ReadingError:
    """Tell what a store said, without its words, which may hold names of keys."""
    told = str(error)
    if any(word in told for word in _UNKNOWN):
        return _failure(ErrorClass.CREDENTIALS, "The store does not take the credential.")
    if isinstance(error, PermissionError) or any(word in told for word in _REFUSED):
        return _failure(ErrorClass.PERMISSION, f"{what} may not be read with this credential.")
    return _failure(ErrorClass.TRANSIENT, f"{what} cannot be read ({type(error).__name__}).")


def _failure(error_class: ErrorClass, message: str) -> ReadingError:
    return ReadingError(Failure(error_class, message))
