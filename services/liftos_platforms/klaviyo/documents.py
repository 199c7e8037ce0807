"""JSON:API as Klaviyo writes it: errors, resources, links and sparse fields."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

MEDIA_TYPE: Final = "application/vnd.api+json"

JsonObject = dict[str, object]

_ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    HTTPStatus.BAD_REQUEST: ("invalid", "Invalid input."),
    HTTPStatus.UNAUTHORIZED: ("not_authenticated", "Authentication credentials were not provided."),
    HTTPStatus.FORBIDDEN: ("permission_denied", "You do not have permission to do this."),
    HTTPStatus.NOT_FOUND: ("not_found", "Not found."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "Method not allowed."),
    HTTPStatus.NOT_ACCEPTABLE: ("not_acceptable", "The Accept header cannot be satisfied."),
    HTTPStatus.GONE: ("gone", "The revision is retired."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("unsupported_media_type", "Unsupported media type."),
    HTTPStatus.TOO_MANY_REQUESTS: ("throttled", "Request was throttled."),
}
"""The code and the title of an error, by status."""

_SERVER_ERROR: Final = ("error", "A server error occurred.")


class ApiError(Exception):
    """A request that Klaviyo refuses.

    Attributes:
        status: The HTTP status.
        detail: What is wrong, for people.
        pointer: The place in the request's body, or None.
        parameter: The query parameter or header, or None.
        code: Klaviyo's word for it; by default the status's.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        pointer: str | None = None,
        parameter: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = int(status)
        self.detail = detail
        self.pointer = pointer
        self.parameter = parameter
        self.code = code

    @property
    def word(self) -> str:
        """The error's code."""
        return self.code or _ERRORS.get(self.status, _SERVER_ERROR)[0]

    def document(self, error_id: str) -> JsonObject:
        """Return the body of the answer; `error_id` names this one occurrence."""
        _, title = _ERRORS.get(self.status, _SERVER_ERROR)
        source: JsonObject = {}
        if self.pointer is not None:
            source["pointer"] = self.pointer
        if self.parameter is not None:
            source["parameter"] = self.parameter
        return {
            "errors": [
                {
                    "id": error_id,
                    "status": self.status,
                    "code": self.word,
                    "title": title,
                    "detail": self.detail,
                    "source": source,
                    "links": {},
                    "meta": {},
                }
            ]
        }


def timestamp(moment: datetime) -> str:
    """Return an aware moment as Klaviyo writes it, in UTC."""
    return moment.astimezone(UTC).isoformat()


def identifier(resource_type: str, resource_id: str) -> JsonObject:
    """Return a resource identifier object."""
    return {"type": resource_type, "id": resource_id}


def relationship(
    base: str, name: str, data: JsonObject | Sequence[JsonObject] | None
) -> JsonObject:
    """Return a relationship with its links.

    Args:
        base: URL of the resource that has it.
        name: Name of the relationship.
        data: The identifiers, or None to give links alone.
    """
    links: JsonObject = {"self": f"{base}/relationships/{name}", "related": f"{base}/{name}"}
    if data is None:
        return {"links": links}
    return {"data": data, "links": links}


def resource(
    base: str,
    kind: str,
    resource_id: str,
    attributes: JsonObject,
    relationships: JsonObject | None = None,
) -> JsonObject:
    """Return a resource object.

    Args:
        base: URL of the resource.
        kind: Its type.
        resource_id: Its id.
        attributes: All of its attributes.
        relationships: Its relationships, or None where it has none.
    """
    made: JsonObject = {"type": kind, "id": resource_id, "attributes": attributes}
    if relationships is not None:
        made["relationships"] = relationships
    made["links"] = {"self": base}
    return made


def sparse(made: JsonObject, fields: Mapping[str, Collection[str]]) -> JsonObject:
    """Return a resource with only the attributes that `fields` names for its type.

    Args:
        made: A resource object.
        fields: Dotted attribute paths by resource type; a type that is absent keeps everything.
    """
    wanted = fields.get(str(made["type"]))
    attributes = made["attributes"]
    if wanted is None or not isinstance(attributes, dict):
        return made
    kept: JsonObject = {}
    for path in wanted:
        _copy_path(attributes, kept, path.split("."))
    return {**made, "attributes": kept}


def _copy_path(source: Mapping[str, object], target: JsonObject, path: Sequence[str]) -> None:
    head, *rest = path
    if head not in source:
        return
    value = source[head]
    if not rest or not isinstance(value, Mapping):
        target[head] = value
        return
    inner = target.setdefault(head, {})
    if isinstance(inner, dict):
        _copy_path(value, inner, rest)
