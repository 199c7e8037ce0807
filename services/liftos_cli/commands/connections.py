"""`liftos connections`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from liftos.ingestion.v1.connection_pb2 import Account, Connection, ConnectionState
from liftos_cli.consent import YesOption, require_consent
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import counted, enum_word_of, short_name
from liftos_cli.ingestion_call import IngestionCall, calls_ingestion
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import narrowed, page_size, print_list, take
from liftos_cli.message_view import print_fields, time_text
from liftos_cli.object_files import read_object
from liftos_cli.options import AccountsOption as OnlyAccountsOption
from liftos_cli.options import FilterOption, LevelsOption, LimitOption
from liftos_cli.output import Column, print_json, print_table, say
from liftos_cli.secret_input import (
    CredentialFileOption,
    CredentialVariablesOption,
    WorkerFileOption,
    WorkerVariablesOption,
    read_credential,
    required_credential,
)

app = command_app(summary="Keep connections to platforms, and their credentials.")

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the connection, or its id alone.")
]
AccountsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--account",
        metavar="ID",
        help="Read only this account; may be repeated; by default all that may be read.",
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Settings of the source (JSON), without secrets.",
        show_default=False,
    ),
]

_UNVERIFIED: Final = ConnectionState.CONNECTION_STATE_UNVERIFIED
_WITHOUT_CREDENTIAL: Final = (
    _UNVERIFIED,
    ConnectionState.CONNECTION_STATE_REJECTED,
)


@app.command(
    epilog="Example: liftos connections create meta-main --platform meta --name 'Meta'"
    " --credential-file meta.json"
)
@calls_ingestion
async def create(
    call: IngestionCall,
    connection_id: Annotated[
        str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")
    ],
    *,
    platform: Annotated[str, typer.Option(help="What to read, such as meta.")],
    display_name: Annotated[str, typer.Option("--name", help="Shown to people.")],
    accounts: AccountsOption = None,
    settings: SettingsOption = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Start no runs yet.")] = False,
    credential_file: CredentialFileOption = None,
    credential_env: CredentialVariablesOption = None,
    worker_env: WorkerVariablesOption = None,
    worker_file: WorkerFileOption = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Ask the platform, but store nothing.")
    ] = False,
) -> None:
    """Register a connection, and try its credential where one is given."""
    connection = await call.ingestion.create_connection(
        connection_id,
        display_name=display_name,
        platform=platform,
        accounts=accounts or [],
        settings=None if settings is None else read_object(settings),
        disabled=disabled,
        credential=read_credential(credential_file, credential_env, worker_env, worker_file),
        validate_only=validate_only,
    )
    if validate_only and not call.json:
        print(f"{short_name(connection.name)} can be stored; nothing was.")
        if connection.missing_scopes:
            say(f"The platform did not grant {', '.join(connection.missing_scopes)}.")
        _print_accounts(connection)
        return
    _tell(call, connection)


@app.command("list", epilog="""Example: liftos connections list --filter 'state = "REJECTED"'""")
@calls_ingestion
async def list_connections(
    call: IngestionCall, *, filter_: FilterOption = "", limit: LimitOption = 100
) -> None:
    """List connections by name."""
    pages = call.ingestion.list_connections(filter=filter_, page_size=page_size(limit, 1_000))
    connections, more = await take(pages, limit)
    print_list(
        "connections",
        connections,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("name"),
            Column("platform"),
            Column("state"),
            Column("accounts", number=True),
            Column("newest day"),
            Column("verified"),
        ],
        row=lambda connection: [
            short_name(connection.name),
            connection.display_name,
            connection.platform,
            enum_word_of(connection, "state"),
            f"{len(connection.accounts):,}",
            max((account.newest_date for account in connection.accounts), default=""),
            time_text(connection, "verify_time"),
        ],
    )


@app.command(epilog="Example: liftos connections get meta-main")
@calls_ingestion
async def get(call: IngestionCall, connection_id: IdArgument) -> None:
    """Show a connection; what is known of its credential, and never its secrets."""
    connection = await call.ingestion.get_connection(connection_id)
    if call.json:
        print_json(connection)
        return
    print_fields(connection, without=("accounts",))
    if connection.accounts:
        accounts = counted(len(connection.accounts), "account")
        say(f"It has {accounts}; see `liftos connections accounts {short_name(connection.name)}`.")


@app.command(epilog="Example: liftos connections accounts meta-main")
@calls_ingestion
async def accounts(call: IngestionCall, connection_id: IdArgument) -> None:
    """Show the accounts of a connection, and how far each was read."""
    connection = await call.ingestion.get_connection(connection_id)
    if call.json:
        print_json({"accounts": list(connection.accounts)})
        return
    _print_accounts(connection)


@app.command(epilog="Example: liftos connections objects --platform meta --level campaign")
@calls_ingestion
async def objects(
    call: IngestionCall,
    *,
    platform: Annotated[str, typer.Option(help="Only this platform.")] = "",
    account_ids: OnlyAccountsOption = None,
    levels: LevelsOption = None,
    filter_: FilterOption = "",
    limit: LimitOption = 100,
) -> None:
    """List campaigns, ads, flows and so on with names and states, deleted ones too."""
    parts = [
        f'platform = "{platform}"' if platform else "",
        _any_of("account_id", account_ids or []),
        _any_of("level", [level.upper() for level in levels or ()]),
    ]
    pages = call.ingestion.list_objects(
        filter=narrowed(filter_, parts), page_size=page_size(limit, 1_000)
    )
    found, more = await take(pages, limit)
    print_list(
        "objects",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("platform"),
            Column("account"),
            Column("level"),
            Column("id"),
            Column("name"),
            Column("state"),
            Column("of"),
            Column("changed"),
        ],
        row=lambda each: [
            each.platform,
            each.account_id,
            enum_word_of(each, "level"),
            each.object_id,
            each.display_name,
            each.state,
            each.parent_id,
            time_text(each, "update_time"),
        ],
    )


@app.command(
    epilog="Example: liftos connections update meta-main --name 'Meta, main' --account 1001"
)
@calls_ingestion
async def update(
    call: IngestionCall,
    connection_id: IdArgument,
    *,
    display_name: Annotated[
        str | None, typer.Option("--name", help="Shown to people.", show_default=False)
    ] = None,
    accounts: Annotated[
        list[str] | None,
        typer.Option(
            "--account",
            metavar="ID",
            help="Read only these in place of those named before; may be repeated.",
        ),
    ] = None,
    all_accounts: Annotated[
        bool, typer.Option("--all-accounts", help="Read all that may be read.")
    ] = False,
    settings: SettingsOption = None,
    disabled: Annotated[
        bool | None,
        typer.Option(
            "--disable/--enable", help="Keep runs from starting, or not.", show_default=False
        ),
    ] = None,
) -> None:
    """Change what is named, and leave the rest."""
    if accounts and all_accounts:
        raise CommandError(
            "--account and --all-accounts do not go together", advice="give one of them"
        )
    connection = await call.ingestion.get_connection(connection_id)
    changed: list[str] = []
    if display_name is not None:
        connection.display_name = display_name
        changed.append("display_name")
    if accounts or all_accounts:
        del connection.accounts[:]
        connection.accounts.extend(Account(account_id=each) for each in accounts or ())
        changed.append("accounts")
    if settings is not None:
        connection.settings.Clear()
        connection.settings.update(read_object(settings))
        changed.append("settings")
    if disabled is not None:
        connection.disabled = disabled
        changed.append("disabled")
    if not changed:
        raise CommandError("nothing is named that should change", advice="see --help")
    _tell(call, await call.ingestion.update_connection(connection, update_mask=changed))


@app.command(epilog="Example: liftos connections delete meta-main --yes")
@calls_ingestion
async def delete(
    call: IngestionCall,
    connection_id: IdArgument,
    *,
    yes: YesOption = False,
) -> None:
    """Remove a connection with its credential and schedules; runs and entries stay."""
    connection = await call.ingestion.get_connection(connection_id)
    question = f"Delete {connection.display_name} with its credential and schedules?"
    require_consent(question, yes=yes)
    await call.ingestion.delete_connection(connection_id, etag=connection.etag)
    if call.json:
        print_json({"deleted": connection.name})
    else:
        print(f"Deleted {short_name(connection.name)}.")


@app.command(epilog="Example: liftos connections verify meta-main")
@calls_ingestion
async def verify(call: IngestionCall, connection_id: IdArgument) -> None:
    """Try the credential. Exit code 1 unless the platform takes it."""
    _tell_state(call, await call.ingestion.verify_connection(connection_id))


@app.command(epilog="Example: liftos connections set-credential meta-main --credential-env META_")
@calls_ingestion
async def set_credential(
    call: IngestionCall,
    connection_id: IdArgument,
    *,
    credential_file: CredentialFileOption = None,
    credential_env: CredentialVariablesOption = None,
    worker_env: WorkerVariablesOption = None,
    worker_file: WorkerFileOption = None,
) -> None:
    """Keep a credential, and try it. Exit code 1 unless the platform takes it."""
    given = read_credential(credential_file, credential_env, worker_env, worker_file)
    credential = required_credential(given)
    _tell_state(call, await call.ingestion.set_credential(connection_id, credential))


@app.command(
    epilog="Example: liftos connections rotate-credential meta-main --credential-file new.json"
)
@calls_ingestion
async def rotate_credential(
    call: IngestionCall,
    connection_id: IdArgument,
    *,
    credential_file: CredentialFileOption = None,
    credential_env: CredentialVariablesOption = None,
    worker_env: WorkerVariablesOption = None,
    worker_file: WorkerFileOption = None,
) -> None:
    """Replace a credential; the old one stays until the platform has taken the new one.

    Without a new one the old one is encrypted again, with the newest key.
    """
    credential = read_credential(credential_file, credential_env, worker_env, worker_file)
    _tell_state(call, await call.ingestion.rotate_credential(connection_id, credential))


def _any_of(field: str, values: Sequence[str]) -> str:
    """Return a filter for rows whose field has one of some values; empty for none."""
    alternatives = " OR ".join(f'{field} = "{value}"' for value in values)
    return f"({alternatives})" if alternatives else ""


def _tell(call: IngestionCall, connection: Connection) -> None:
    if call.json:
        print_json(connection)
        return
    state = enum_word_of(connection, "state")
    accounts = counted(len(connection.accounts), "account")
    print(f"{short_name(connection.name)}: {connection.display_name}, {state}, {accounts}.")
    if connection.missing_scopes:
        say(f"The platform did not grant {', '.join(connection.missing_scopes)}.")
    if connection.state == ConnectionState.CONNECTION_STATE_ACTIVE:
        say(f"Next: `liftos runs start {short_name(connection.name)} --watch`.")
    elif connection.state == _UNVERIFIED and connection.HasField("credential"):
        say(
            "The platform did not answer, so the credential is not tried yet. Next:"
            f" `liftos connections verify {short_name(connection.name)}`."
        )
    elif connection.state in _WITHOUT_CREDENTIAL:
        say(f"Next: `liftos connections set-credential {short_name(connection.name)} --help`.")


def _tell_state(call: IngestionCall, connection: Connection) -> None:
    """Tell a connection whose credential was tried."""
    _tell(call, connection)
    if connection.state in _WITHOUT_CREDENTIAL:
        raise typer.Exit(ExitCode.NEGATIVE)


def _print_accounts(connection: Connection) -> None:
    print_table(
        [
            Column("account"),
            Column("name"),
            Column("zone"),
            Column("currency"),
            Column("last outcome"),
            Column("newest day"),
            Column("final until"),
            Column("read"),
        ],
        map(_account_row, connection.accounts),
        empty="No account is known yet; `liftos connections verify` asks the platform.",
    )


def _account_row(account: Account) -> list[str]:
    outcome = enum_word_of(account, "outcome")
    return [
        account.account_id,
        account.display_name,
        account.time_zone,
        account.currency_code,
        "disabled" if account.disabled else "" if outcome == "UNSPECIFIED" else outcome,
        account.newest_date,
        account.newest_final_date,
        time_text(account, "read_time"),
    ]
