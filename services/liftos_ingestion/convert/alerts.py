"""Alerts and their routes as messages."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from liftos.ingestion.v1 import alert_pb2
from liftos_ingestion.alert_ports import RouteSpec, StoredRoute
from liftos_ingestion.convert.runs import RUN_NAME
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity
from liftos_ingestion.domain.names import ROUTE_NAME, connection_name, route_name
from liftos_ingestion.run_view_ports import Row
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.names import Pattern
from liftos_kit.secrets.secret import Secret
from liftos_kit.structs import timestamp

ALERT_NAME: Final = Pattern("orgs/{org}/alerts/{alert}")

_SPEC_FIELDS: Final = ("display_name", "kinds", "minimum_severity", "platforms", "disabled")
_CHANGEABLE: Final = (*_SPEC_FIELDS, "target_url")


def alert_id(name: str) -> UUID:
    """Return the id of an alert from its name."""
    return UUID(ALERT_NAME.parse(name)["alert"])


def route_id(name: str, *, field: str = "name") -> str:
    """Return the id of a route from its name."""
    return ROUTE_NAME.parse(name, field=field)["alert_route"]


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


def route_spec(message: alert_pb2.AlertRoute) -> RouteSpec:
    """Return what a message says of a route, but for its target."""
    return RouteSpec(
        display_name=message.display_name,
        kinds=tuple(AlertKind(kind) for kind in message.kinds),
        minimum_severity=AlertSeverity(message.minimum_severity or AlertSeverity.INFO),
        platforms=tuple(message.platforms),
        disabled=message.disabled,
    )


def target_of(
    message: alert_pb2.AlertRoute, mask_paths: Sequence[str] = _CHANGEABLE
) -> Secret | None:
    """Return the target that a message gives; None where it gives none."""
    given = message.target_url if "target_url" in mask_paths or not mask_paths else ""
    return Secret(given) if given else None


def keeps_target(message: alert_pb2.AlertRoute, mask_paths: Sequence[str]) -> bool:
    """Return whether a mask names the target of a message that gives none."""
    return "target_url" in mask_paths and not message.target_url


def spec_fields(mask_paths: Sequence[str]) -> Sequence[str]:
    """Return the fields of the specification that a mask means; all where it names none.

    Raises:
        InvalidFieldsError: It names others than can be changed.
    """
    wrong = [path for path in mask_paths if path not in _CHANGEABLE]
    if wrong:
        raise InvalidFieldsError(
            FieldViolation(
                "update_mask",
                f"{path} cannot be changed; the fields are {', '.join(_CHANGEABLE)}",
                "field_mask",
            )
            for path in wrong
        )
    return [field for field in _SPEC_FIELDS if not mask_paths or field in mask_paths]


def route_message(org: str, stored: StoredRoute) -> alert_pb2.AlertRoute:
    """Return the message of a route, without its target."""
    spec = stored.spec
    return alert_pb2.AlertRoute(
        name=route_name(org, stored.alert_route),
        display_name=spec.display_name,
        kinds=[alert_pb2.AlertKind.ValueType(kind) for kind in spec.kinds],
        minimum_severity=alert_pb2.AlertSeverity.ValueType(spec.minimum_severity),
        platforms=spec.platforms,
        disabled=spec.disabled,
        target_kind=stored.target.kind,
        send_time=timestamp(stored.send_time),
        send_error=stored.send_error,
        create_time=timestamp(stored.create_time),
        update_time=timestamp(stored.update_time),
        etag=str(stored.revision),
        target_key_id=stored.target.key_id,
    )
