"""The data directory: where everything of one stack lives, its lock and its secrets."""

import base64
import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final

from liftos_local.errors import DataDirectoryError

_LOCK_PATIENCE_SECONDS: Final = 0.5
_LOG_TAIL_BYTES: Final = 8192
_LOG_ROTATE_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Secrets:
    """Generated once per data directory, never shown."""

    postgres_admin_password: str = field(repr=False)
    postgres_owner_password: str = field(repr=False)
    postgres_app_password: str = field(repr=False)
    postgres_restore_password: str = field(repr=False)
    redis_password: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    ingestion_key: str = field(repr=False)
    memory_key: str = field(repr=False)
    module_postgres_admin_password: str = field(repr=False)
    module_postgres_password: str = field(repr=False)
    module_redis_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Names every path below the root, which is absolute."""

    root: Path

    def store(self, name: str) -> Path:
        """Folder of a store, by the name of its process."""
        return self.root / name

    @property
    def postgres(self) -> Path:
        """Folder of the Postgres account; holds one cluster folder per major version."""
        return self.root / "postgres"

    @property
    def redis(self) -> Path:
        """Data and configuration of the Redis server."""
        return self.root / "redis"

    @property
    def milvus(self) -> Path:
        """Data of the Milvus server."""
        return self.root / "milvus"

    @property
    def log(self) -> Path:
        """One log file per process."""
        return self.root / "log"

    @property
    def spans(self) -> Path:
        """Rolling span files of the services."""
        return self.root / "spans"

    @property
    def files(self) -> Path:
        """What file sources read, below it a folder for each organisation."""
        return self.root / "files"

    @property
    def snapshots(self) -> Path:
        """Snapshots of the stores that modules are moved from."""
        return self.root / "snapshots"

    @property
    def run(self) -> Path:
        """What only matters while, or about how, the stack runs."""
        return self.root / "run"

    @property
    def lock_file(self) -> Path:
        """Locked for as long as any process of the stack lives."""
        return self.run / "lock"

    @property
    def plan_file(self) -> Path:
        """What the supervisor was told to run."""
        return self.run / "plan.json"

    @property
    def ports_file(self) -> Path:
        """The ports of the last start, kept where they are still free."""
        return self.run / "ports.json"

    @property
    def state_file(self) -> Path:
        """What the supervisor says about its processes."""
        return self.run / "state.json"

    @property
    def secrets_file(self) -> Path:
        """Passwords and token secret, mode 0600."""
        return self.root / "secrets.json"

    def log_file(self, process: str) -> Path:
        """Log of one process."""
        return self.log / f"{process}.log"


def default_data_dir() -> Path:
    """Return `LIFTOS_DATA_DIR`, else the system's (root) or the user's state folder."""
    if chosen := os.environ.get("LIFTOS_DATA_DIR"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/liftos")
    state_home = os.environ.get("XDG_STATE_HOME")
    return (Path(state_home) if state_home else Path.home() / ".local" / "state") / "liftos"


def prepare(data_dir: Path) -> DataDirectory:
    """Create the data directory, or take one that is empty or ours.

    Raises:
        DataDirectoryError: it holds something else, is of another user, or may not be written.
    """
    directory = DataDirectory(data_dir.absolute())
    try:
        directory.root.mkdir(parents=True, exist_ok=True)
        if any(directory.root.iterdir()):
            _check_ours(directory)
        # Postgres runs under another account when we are root, and has to pass through.
        directory.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for folder in (
            directory.run,
            directory.log,
            directory.spans,
            directory.files,
            directory.snapshots,
            directory.redis,
        ):
            folder.mkdir(mode=0o700, exist_ok=True)
        directory.milvus.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DataDirectoryError(
            directory.root,
            f"cannot be prepared ({error.strerror})",
            advice="run as the user who owns it, or choose another folder",
        ) from error
    return directory


def _check_ours(directory: DataDirectory) -> None:
    if not directory.run.is_dir():
        raise DataDirectoryError(
            directory.root,
            "holds files that are not of LiftOS",
            advice="choose an empty or a new folder",
        )
    # Root could go on, and would leave files that the owner cannot use any more.
    if (owner := directory.root.stat().st_uid) != os.geteuid():
        raise DataDirectoryError(
            directory.root,
            f"belongs to user {owner}",
            advice="run as that user, or choose another folder",
        )


def write_atomically(path: Path, text: str, *, mode: int = 0o644, durable: bool = False) -> None:
    """Replace a file so that a reader sees the old or the new text.

    With `durable` the same holds after a loss of power.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    draft.replace(path)


def load_secrets(directory: DataDirectory) -> Secrets:
    """Read the secrets; make those that are not there yet."""
    stored = read_secrets(directory.secrets_file)
    made = Secrets(
        **{it.name: stored.get(it.name) or _new_secret(it.name) for it in fields(Secrets)}
    )
    if asdict(made) != stored:
        save_secrets(directory, made)
    return made


def read_secrets(file: Path) -> dict[str, str]:
    """Return what a secrets file holds, by name; nothing where there is none."""
    if not file.exists():
        return {}
    stored: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return stored


def save_secrets(directory: DataDirectory, made: Secrets) -> None:
    """Replace the secrets of a directory."""
    write_atomically(directory.secrets_file, json.dumps(asdict(made)), mode=0o600, durable=True)


def _new_secret(name: str) -> str:
    if name in ("ingestion_key", "memory_key"):
        return f"local:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    return secrets.token_urlsafe(32)


def try_lock(directory: DataDirectory) -> int | None:
    """Take the lock and return its descriptor; None where a stack holds it."""
    descriptor = os.open(directory.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # `is_locked` of a reader holds a shared lock for an instant.
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)
        else:
            return descriptor


def is_locked(directory: DataDirectory) -> bool:
    """Tell whether any process of a stack on this directory lives.

    Raises:
        DataDirectoryError: the directory is of another user.
    """
    try:
        descriptor = os.open(directory.lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise DataDirectoryError(
            directory.root, "belongs to another user", advice="run as that user"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def rotate_log(log_file: Path) -> None:
    """Set a large log aside as `.1`; called when its process is down."""
    if log_file.exists() and log_file.stat().st_size > _LOG_ROTATE_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))


def log_tail(log_file: Path, *, lines: int = 20) -> tuple[str, ...]:
    """Return the last lines of a log; none where there is no log."""
    try:
        with log_file.open("rb") as stream:
            stream.seek(max(0, log_file.stat().st_size - _LOG_TAIL_BYTES))
            return tuple(stream.read().decode("utf-8", "replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ()
