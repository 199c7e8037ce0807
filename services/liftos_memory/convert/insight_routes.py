"""Routes of insights as messages."""

from collections.abc import Sequence
from typing import Final

from liftos.memory.v1 import insight_pb2
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.secrets.secret import Secret
from liftos_kit.structs import timestamp
from liftos_memory.domain.insights import ROUTE_NAME, InsightKind, route_name
from liftos_memory.insight_route_ports import RouteSpec, StoredRoute

_SPEC_FIELDS: Final = ("display_name", "kinds", "minimum_severity", "platforms", "disabled")
_CHANGEABLE: Final = (*_SPEC_FIELDS, "target_url")


def route_id(name: str, *, field: str = "name") -> str:
    """Return the id of a route from its name."""
    return ROUTE_NAME.parse(name, field=field)["insight_route"]


def route_spec(message: insight_pb2.InsightRoute) -> RouteSpec:
    """Return what a message says of a route, but for its target."""
    return RouteSpec(
        display_name=message.display_name,
        kinds=tuple(InsightKind(kind) for kind in message.kinds),
        minimum_severity=message.minimum_severity,
        platforms=tuple(message.platforms),
        disabled=message.disabled,
    )


def target_of(
    message: insight_pb2.InsightRoute, mask_paths: Sequence[str] = _CHANGEABLE
) -> Secret | None:
    """Return the target that a message gives; None where it gives none."""
    given = message.target_url if "target_url" in mask_paths or not mask_paths else ""
    return Secret(given) if given else None


def keeps_target(message: insight_pb2.InsightRoute, mask_paths: Sequence[str]) -> bool:
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


def route_message(org: str, stored: StoredRoute) -> insight_pb2.InsightRoute:
    """Return the message of a route, without its target."""
    spec = stored.spec
    return insight_pb2.InsightRoute(
        name=route_name(org, stored.insight_route),
        display_name=spec.display_name,
        kinds=[insight_pb2.InsightKind.ValueType(kind) for kind in spec.kinds],
        minimum_severity=spec.minimum_severity,
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
