"""Which role, scope and org a method asks for, read from the contract."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from liftos.common.v1 import access_pb2
from liftos_kit.core.errors import OrgMismatchError

ROLES: Final = ("reader", "writer", "admin")
"""Roles by rank; each holds what the ones before it may do."""

# Free text that may begin like a name without being one.
_FREE_TEXT: Final = frozenset({"query", "filter", "order_by", "page_token", "request_id"})


class AccessError(Exception):
    """The contract does not say who may call a method; the server must not start."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a token needs for a method.

    Attributes:
        role: Least role, one of `ROLES`.
        scope: The service's word, such as `memory`.
    """

    role: str
    scope: str


def find_method(path: str) -> MethodDescriptor:
    """Return the contract's description of `/package.Service/Method`.

    Raises:
        AccessError: The contract does not have the method.
    """
    full_name = path.removeprefix("/").replace("/", ".")
    try:
        return descriptor_pool.Default().FindMethodByName(full_name)
    except KeyError:
        raise AccessError(f"{full_name} is not in the contract") from None


def requirement_of(method: MethodDescriptor) -> Requirement:
    """Return what a method asks of a token.

    Raises:
        AccessError: The method has no `liftos.common.v1.required_role`.
    """
    rank = method.GetOptions().Extensions[access_pb2.required_role]
    if not 1 <= rank <= len(ROLES):
        raise AccessError(
            f"{method.full_name} has no role; "
            "give it `option (liftos.common.v1.required_role)` in its .proto file"
        )
    package = method.containing_service.file.package.split(".")
    return Requirement(role=ROLES[rank - 1], scope=package[1] if len(package) > 1 else package[0])


def check_services(service_names: Sequence[str]) -> None:
    """Check that every method of these services says who may call it.

    Raises:
        AccessError: Methods without a role, all of them, or an unknown service.
    """
    problems: list[str] = []
    for service_name in service_names:
        try:
            service = descriptor_pool.Default().FindServiceByName(service_name)
        except KeyError:
            problems.append(f"{service_name} is not in the contract")
            continue
        for method in service.methods:
            try:
                requirement_of(method)
            except AccessError as error:
                problems.append(str(error))
    if problems:
        raise AccessError("; ".join(problems))


NameCheck = Callable[[Message, str], None]


def check_of_names(descriptor: Descriptor) -> NameCheck | None:
    """Return a check that every resource name in a message is of one org.

    Looked at are the text fields of the request itself that hold a name, and the fields `name` and
    `parent` of the messages in it, at any depth. The check is called with the message and the org
    and raises OrgMismatchError. Messages without names have no check.
    """
    return _names_check(descriptor, is_request=True, seen=(), path="")


def _names_check(
    descriptor: Descriptor, *, is_request: bool, seen: tuple[str, ...], path: str
) -> NameCheck | None:
    if descriptor.full_name in seen or descriptor.GetOptions().map_entry:
        return None
    checks: list[NameCheck] = []
    for field in descriptor.fields:
        where = f"{path}{field.name}"
        if field.type == FieldDescriptor.TYPE_STRING:
            named = field.name in ("name", "parent")
            if named or (is_request and field.name not in _FREE_TEXT):
                checks.append(_text_check(field.name, where, repeated=field.is_repeated))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            assert field.message_type is not None
            inner = _names_check(
                field.message_type,
                is_request=False,
                seen=(*seen, descriptor.full_name),
                path=f"{where}.",
            )
            if inner is not None:
                checks.append(_inner_check(field.name, inner, repeated=field.is_repeated))
    if not checks:
        return None

    def check(message: Message, org: str) -> None:
        for each in checks:
            each(message, org)

    return check


def _text_check(name: str, where: str, *, repeated: bool) -> NameCheck:
    def check(message: Message, org: str) -> None:
        value: str = getattr(message, name)
        if value.startswith("orgs/") and not _is_of(value, org):
            raise OrgMismatchError(where)

    def check_each(message: Message, org: str) -> None:
        for value in getattr(message, name):
            if value.startswith("orgs/") and not _is_of(value, org):
                raise OrgMismatchError(where)

    return check_each if repeated else check


def _inner_check(name: str, inner: NameCheck, *, repeated: bool) -> NameCheck:
    def check(message: Message, org: str) -> None:
        # Reading an unset submessage would make one up only to find it empty.
        if message.HasField(name):
            inner(getattr(message, name), org)

    def check_each(message: Message, org: str) -> None:
        for item in getattr(message, name):
            inner(item, org)

    return check_each if repeated else check


def _is_of(name: str, org: str) -> bool:
    mine = f"orgs/{org}"
    return name == mine or name.startswith(f"{mine}/")
