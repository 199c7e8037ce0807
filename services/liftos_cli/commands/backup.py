"""`liftos backup`."""

import asyncio
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Annotated, Final

import typer

from liftos_cli.consent import require_consent
from liftos_cli.dump_errors import dump_errors
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import DataDirOption, chosen_data_dir, data_dir_words, stack_errors
from liftos_cli.options import JsonOption
from liftos_cli.output import Column, print_json, print_table, say
from liftos_cli.stage_bar import stage_bar
from liftos_kit.dumps.restoring import check_dump
from liftos_kit.dumps.shelf import Dump, list_dumps, prune, read_dump
from liftos_local import backups
from liftos_local.directory import DataDirectory, is_locked, load_secrets, prepare

app = command_app(summary="Back up Core's Postgres, test backups, and restore them.")

_URL: Final = "LIFTOS_BACKUP_POSTGRES_URL"
DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        envvar="LIFTOS_BACKUP_DIRECTORY",
        metavar="DIR",
        help="Where backups are kept; by default beside the data directory.",
        show_default=False,
    ),
]
JobsOption = Annotated[
    int, typer.Option("--jobs", min=1, max=16, metavar="N", help="So many tables at a time.")
]
IdArgument = Annotated[
    str, typer.Argument(metavar="[ID]", help="Which one; the newest without it.")
]


@app.command(epilog="Example: liftos backup create --keep 7")
def create(
    *,
    data_dir: DataDirOption = None,
    directory: DirectoryOption = None,
    jobs: JobsOption = 2,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            min=1,
            metavar="N",
            help="Then delete all but the N newest that passed their test, and what is younger.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Back up all of Postgres as it is at one moment, while everything goes on.

    Roles, rights and row-level security belong to it; Redis and Milvus do not, since they follow
    Postgres; nor do secrets: keep secrets.json of the data directory in another safe place.

    LIFTOS_BACKUP_POSTGRES_URL names a server elsewhere, for a role that reads past row-level
    security; else it is that of the data directory, which is started if it does not run.
    """
    place = _place(data_dir, directory)
    with _errors(), stage_bar() as advance, _postgres(data_dir) as url:
        made = asyncio.run(
            backups.back_up(url, place, _keys(data_dir), jobs=jobs, on_progress=advance)
        )
        gone = () if keep is None else prune(place, keep=keep)
    if json:
        print_json(_as_json(made) | {"deleted": list(gone)})
        return
    _print([made])
    if gone:
        say(f"Deleted: {', '.join(gone)}.")
    say(f"Next: `liftos backup verify{_words(data_dir, directory)}`, without which it is a hope.")


@app.command("list", epilog="Example: liftos backup list --json")
def list_(
    *, data_dir: DataDirOption = None, directory: DirectoryOption = None, json: JsonOption = False
) -> None:
    """List backups, oldest first. Exit code 1 where one cannot be read."""
    place = _place(data_dir, directory)
    found = list_dumps(place)
    if json:
        print_json(
            {"backups": [_as_json(each) for each in found.dumps], "damaged": list(found.damaged)}
        )
    else:
        _print(found.dumps)
    if found.damaged:
        say(f"Damaged, of no use any more: {', '.join(found.damaged)} in {place}.")
        raise typer.Exit(ExitCode.NEGATIVE)


@app.command(epilog="Example: liftos backup verify")
def verify(
    id_: IdArgument = "",
    *,
    data_dir: DataDirOption = None,
    directory: DirectoryOption = None,
    jobs: JobsOption = 2,
    json: JsonOption = False,
) -> None:
    """Restore a backup into a database of its own, and compare all rows and definitions.

    The database is dropped again. Exit code 1 where it is not what was backed up.
    """
    backup = _chosen(_place(data_dir, directory), id_)
    with _errors(), stage_bar() as advance, _postgres(data_dir) as url:
        tested = asyncio.run(check_dump(url, backup, jobs=jobs, on_progress=advance))
    if json:
        print_json(_as_json(tested))
        return
    _print([tested])
    say("It gives back what was backed up.")


@app.command(epilog="Example: liftos backup restore 20260131t020000123456z-4f1d02 --yes")
def restore(
    id_: IdArgument = "",
    *,
    data_dir: DataDirOption = None,
    directory: DirectoryOption = None,
    secrets: Annotated[
        Path | None,
        typer.Option(
            "--secrets",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The lost secrets.json, whose keys read stored credentials.",
            show_default=False,
        ),
    ] = None,
    jobs: JobsOption = 2,
    yes: Annotated[
        bool, typer.Option("--yes", help="Replace what is there without asking.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Restore a backup, compared with what was backed up, in the place of what is there.

    Nothing may run but the stores. Until all is restored and compared, what is there stays as it
    is. What was written after the backup is lost.
    """
    backup = _chosen(_place(data_dir, directory), id_)
    with _errors():
        if _URL in os.environ:
            _restore_elsewhere(os.environ[_URL], backup, jobs=jobs, yes=yes)
        else:
            _restore_here(data_dir, backup, secrets, jobs=jobs, yes=yes)
    if json:
        print_json(_as_json(backup))
        return
    when = f"{backup.manifest.create_time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    say(f"Restored {backup.manifest.row_count:,} rows, as they were at {when}.")
    if _URL in os.environ:
        say("Next: empty Redis and drop the collections of Milvus, then start the services.")
    else:
        say(f"Next: `liftos up --detach{data_dir_words(data_dir)}`; its worker fills the search.")


def _restore_here(
    data_dir: Path | None, backup: Dump, secrets: Path | None, *, jobs: int, yes: bool
) -> None:
    root = chosen_data_dir(data_dir)
    if is_locked(DataDirectory(root)):
        raise CommandError(
            f"LiftOS runs in {root}",
            advice=f"stop it with `liftos down{data_dir_words(data_dir)}`, and try again",
        )
    stack_directory = prepare(root)
    if secrets is not None:
        backups.take_keys(root, secrets)
    keys = backups.key_digests(load_secrets(stack_directory))
    if backup.manifest.labels and keys != dict(backup.manifest.labels):
        _require_keys(yes=yes)
    with stage_bar() as advance, backups.postgres_of(root) as url:
        if asyncio.run(backups.has_tables(url)):
            _consent(root, yes=yes)
        asyncio.run(backups.restore_beside(url, backup, jobs=jobs, on_progress=advance))
    # What they hold follows another Postgres; whatever happens now, the worker fills them.
    backups.empty_followers(root)
    with backups.postgres_of(root) as url:
        asyncio.run(backups.put_in_place(url))


def _restore_elsewhere(url: str, backup: Dump, *, jobs: int, yes: bool) -> None:
    if asyncio.run(backups.has_tables(url)):
        _consent("the database", yes=yes)
    with stage_bar() as advance:
        asyncio.run(backups.restore_beside(url, backup, jobs=jobs, on_progress=advance))
    asyncio.run(backups.put_in_place(url))


def _consent(place: object, *, yes: bool) -> None:
    require_consent(
        f"Replace all that {place} holds?",
        yes=yes,
        wanted=f"replace all that {place} holds",
        undone="nothing was restored",
    )


def _require_keys(*, yes: bool) -> None:
    if not yes:
        raise CommandError(
            "credentials in this backup are encrypted with keys that the data directory lacks",
            advice="give the secrets.json of that time with --secrets; or add --yes, and then give"
            " each connection its credentials anew",
        )


@contextmanager
def _postgres(data_dir: Path | None) -> Iterator[str]:
    if _URL in os.environ:
        yield os.environ[_URL]
        return
    root = chosen_data_dir(data_dir)
    if not DataDirectory(root).secrets_file.exists():
        raise CommandError(
            f"{root} holds no data of LiftOS",
            advice=f"name the data directory with --data-dir, or another server with {_URL}",
        )
    with backups.postgres_of(root) as url:
        yield url


def _keys(data_dir: Path | None) -> dict[str, str]:
    if _URL in os.environ:
        return {}
    return backups.key_digests(load_secrets(DataDirectory(chosen_data_dir(data_dir))))


def _place(data_dir: Path | None, directory: Path | None) -> Path:
    if directory is not None:
        return directory.absolute()
    return backups.backup_directory(chosen_data_dir(data_dir))


def _words(data_dir: Path | None, directory: Path | None) -> str:
    place = "" if directory is None else f" --directory {shlex.quote(str(directory.absolute()))}"
    return data_dir_words(data_dir) + place


def _chosen(place: Path, id_: str) -> Dump:
    found = list_dumps(place).dumps
    if not found:
        raise CommandError(
            f"no backup is in {place}",
            advice="make one with `liftos backup create`, or name their place with --directory",
        )
    if not id_:
        return found[-1]
    if id_ not in {each.id for each in found}:
        raise CommandError(
            f"no backup {id_} is in {place}",
            advice="choose one of those that `liftos backup list` shows",
            details=[each.id for each in found[-5:]],
        )
    return read_dump(place / id_)


def _print(found: tuple[Dump, ...] | list[Dump]) -> None:
    print_table(
        [
            Column("id"),
            Column("taken (UTC)"),
            Column("tables", number=True),
            Column("rows", number=True),
            Column("size", number=True),
            Column("restore test"),
        ],
        [
            (
                each.id,
                f"{each.manifest.create_time.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                f"{len(each.manifest.tables):,}",
                f"{each.manifest.row_count:,}",
                f"{each.manifest.size_bytes / 1024**2:,.1f} MiB",
                "not yet"
                if each.test is None
                else f"passed, restored in {each.test.restore_seconds:.1f} s",
            )
            for each in found
        ],
        empty="There are no backups. Make one with `liftos backup create`.",
    )


def _as_json(backup: Dump) -> dict[str, object]:
    manifest = backup.manifest
    return {
        "id": backup.id,
        "folder": str(backup.folder),
        "create_time": manifest.create_time.astimezone(UTC).isoformat(),
        "server_version": manifest.server_version,
        "lsn": manifest.lsn,
        "sha256": backup.sha256,
        "row_count": manifest.row_count,
        "size_bytes": manifest.size_bytes,
        "tables": {name: each.row_count for name, each in manifest.tables.items()},
        "restore_tested": backup.test is not None,
        "restore_seconds": None if backup.test is None else backup.test.restore_seconds,
    }


@contextmanager
def _errors() -> Iterator[None]:
    with dump_errors(), stack_errors():
        yield
