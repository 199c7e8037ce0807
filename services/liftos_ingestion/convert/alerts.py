"""Alerts as messages."""

from typing import Final
from uuid import UUID

from liftos.ingestion.v1 import alert_pb2
from liftos_ingestion.convert.runs import RUN_NAME
from liftos_ingestion.domain.names import connection_name
from liftos_ingestion.run_view_ports import Row
from liftos_kit.core.names import Pattern
from liftos_kit.structs import timestamp

ALERT_NAME: Final = Pattern("orgs/{org}/alerts/{alert}")


def alert_id(name: str) -> UUID:
    """Return the id of an alert from its name."""
    return UUID(ALERT_NAME.parse(name)["alert"])


def alert_message(org: str, row: Row) -> alert_pb2.Alert:
    """Return the message of an alert."""
    connection, run = row["connection"], row["run"]
    return alert_pb2.Alert(
        name=ALERT_NAME.format(org=org, alert=row["alert"].hex),
        kind=row["kind"],
        severity=row["severity"],
        state=row["state"],
        summary=row["summary"],
        remedy=row["remedy"],
        platform=row["platform"],
        connection=connection_name(org, connection) if connection else "",
        account_id=row["account_id"],
        run="" if run is None else RUN_NAME.format(org=org, run=run.hex),
        occurrence_count=row["occurrence_count"],
        acknowledge_subject=row["acknowledge_subject"],
        acknowledge_comment=row["acknowledge_comment"],
        first_time=timestamp(row["first_time"]),
        last_time=timestamp(row["last_time"]),
        resolve_time=timestamp(row["resolve_time"]),
    )
