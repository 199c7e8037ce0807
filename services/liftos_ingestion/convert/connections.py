"""Connections and credentials, both ways; secrets only go in."""

from collections.abc import Sequence
from typing import Final

from liftos.ingestion.v1 import connection_pb2
from liftos_ingestion.connection_ports import (
    ConnectionChange,
    CredentialKind,
    GivenCredential,
    NamedAccount,
    NewConnection,
    StoredAccount,
    StoredConnection,
    StoredCredential,
)
from liftos_ingestion.domain.failures import AccountOutcome
from liftos_ingestion.domain.names import CONNECTION_NAME, connection_name
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.secrets.secret import Secret
from liftos_kit.structs import plain, revision_of, struct_of, timestamp

_CHANGEABLE: Final = ("display_name", "accounts", "settings", "disabled")
_OUTCOMES: Final = {outcome: number for number, outcome in enumerate(AccountOutcome, 1)}


def connection_id(name: str, *, field: str = "name") -> str:
    """Return the id in the name of a connection."""
    return CONNECTION_NAME.parse(name, field=field)["connection"]


def new_connection(message: connection_pb2.Connection) -> NewConnection:
    """Return the connection of a message; output-only fields are left alone."""
    return NewConnection(
        connection=connection_id(message.name, field="connection.name"),
        display_name=message.display_name,
        platform=message.platform,
        settings=plain(message.settings),
        accounts=_named(message),
        disabled=message.disabled,
    )


def connection_change(
    message: connection_pb2.Connection, mask_paths: Sequence[str]
) -> ConnectionChange:
    """Return the change that an update asks for.

    Raises:
        InvalidFieldsError: The mask names what cannot be changed, or the etag is none of ours.
    """
    fixed = [path for path in mask_paths if path not in _CHANGEABLE]
    if fixed:
        raise InvalidFieldsError(
            FieldViolation(
                "update_mask", f"{path} cannot be changed; name {', '.join(_CHANGEABLE)}", "mask"
            )
            for path in fixed
        )
    changed = mask_paths or _CHANGEABLE
    return ConnectionChange(
        display_name=message.display_name if "display_name" in changed else None,
        settings=plain(message.settings) if "settings" in changed else None,
        accounts=_named(message) if "accounts" in changed else None,
        disabled=message.disabled if "disabled" in changed else None,
        platform=None if mask_paths else message.platform,
        revision=revision_of(message.etag, field="connection.etag"),
    )


def given_credential(message: connection_pb2.Credential) -> GivenCredential:
    """Return the credential of a message."""
    match message.WhichOneof("kind"):
        case "environment_prefix":
            return GivenCredential(CredentialKind.ENVIRONMENT, reference=message.environment_prefix)
        case "file_path":
            return GivenCredential(CredentialKind.FILE, reference=message.file_path)
        case _:
            fields = {name: Secret(value) for name, value in message.stored.values.items()}
            return GivenCredential(CredentialKind.STORED, fields)


def connection_message(org: str, stored: StoredConnection) -> connection_pb2.Connection:
    """Return the message of a connection, without its secrets."""
    return connection_pb2.Connection(
        name=connection_name(org, stored.connection),
        display_name=stored.display_name,
        platform=stored.platform,
        accounts=map(_account, stored.accounts),
        settings=struct_of(stored.settings),
        disabled=stored.disabled,
        state=connection_pb2.ConnectionState.ValueType(stored.state),
        credential=_credential(stored.credential),
        missing_scopes=stored.missing_scopes,
        verify_time=timestamp(stored.verify_time),
        create_time=timestamp(stored.create_time),
        update_time=timestamp(stored.update_time),
        etag=str(stored.revision),
    )


def _named(message: connection_pb2.Connection) -> Sequence[NamedAccount]:
    return [NamedAccount(it.account_id, it.disabled) for it in message.accounts]


def _account(stored: StoredAccount) -> connection_pb2.Account:
    newest, newest_final = stored.newest_date, stored.newest_final_date
    return connection_pb2.Account(
        account_id=stored.account_id,
        disabled=stored.disabled,
        display_name=stored.display_name,
        time_zone=stored.time_zone,
        currency_code=stored.currency_code,
        outcome=connection_pb2.AccountOutcome.ValueType(
            _OUTCOMES[stored.outcome] if stored.outcome else 0
        ),
        newest_date="" if newest is None else newest.isoformat(),
        newest_final_date="" if newest_final is None else newest_final.isoformat(),
        read_time=timestamp(stored.read_time),
    )


def _credential(stored: StoredCredential) -> connection_pb2.CredentialInfo:
    return connection_pb2.CredentialInfo(
        kind=connection_pb2.CredentialKind.ValueType(stored.kind),
        field_names=stored.fields,
        reference=stored.reference,
        key_id=stored.key_id,
        expire_time=timestamp(stored.expire_time),
        granted_scopes=stored.granted_scopes,
        update_time=timestamp(stored.update_time),
    )
