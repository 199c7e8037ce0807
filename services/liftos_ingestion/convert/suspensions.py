"""Suspensions as messages."""

from typing import Final
from uuid import UUID

from liftos.ingestion.v1 import alert_pb2
from liftos_ingestion.domain.names import CONNECTION_NAME, connection_name
from liftos_ingestion.run_view_ports import Row
from liftos_ingestion.suspension_ports import SuspensionScope
from liftos_kit.core.names import Pattern
from liftos_kit.structs import timestamp

SUSPENSION_NAME: Final = Pattern("orgs/{org}/suspensions/{suspension}")


def suspension_id(name: str) -> UUID:
    """Return the id of a suspension from its name."""
    return UUID(SUSPENSION_NAME.parse(name)["suspension"])


def scope_of(message: alert_pb2.SuspensionScope) -> SuspensionScope:
    """Return what a message names."""
    connection = ""
    if message.connection:
        ids = CONNECTION_NAME.parse(message.connection, field="scope.connection")
        connection = ids["connection"]
    return SuspensionScope(message.platform, connection, message.account_id)


def suspension_message(org: str, row: Row) -> alert_pb2.Suspension:
    """Return the message of a suspension."""
    connection = row["connection"]
    return alert_pb2.Suspension(
        name=SUSPENSION_NAME.format(org=org, suspension=row["suspension"].hex),
        scope=alert_pb2.SuspensionScope(
            platform=row["platform"],
            connection=connection_name(org, connection) if connection else "",
            account_id=row["account_id"],
        ),
        reason=row["reason"],
        subject=row["subject"],
        waiting_run_count=row["waiting_run_count"],
        create_time=timestamp(row["create_time"]),
        end_time=timestamp(row["end_time"]),
    )
