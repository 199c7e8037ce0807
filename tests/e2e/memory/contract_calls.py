"""Calls of whatever a server exposes, with requests made from the rules of the contract.

Methods are found through reflection and requests are built from descriptors, so that a new method,
field or rule is tested without being listed anywhere.
"""

import asyncio
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import (
    Descriptor,
    FieldDescriptor,
    MethodDescriptor,
)
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.inprocess.kit.statuses import Refusal, refusal_of

from buf.validate import validate_pb2
from liftos_kit.status import CODES, DOMAIN

INFRASTRUCTURE: Final = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
"""Services that are open to all."""

_UUID: Final = "6fd24f1e-7a0f-4ed5-9b76-0d2bb9a92e1c"
_PLAIN_EXAMPLES: Final = ("2025-03-03", "EUR", "1")
# What no rule says and a good request needs all the same.
_EXAMPLES: Final = {
    "liftos.memory.v1.SearchDocumentsRequest.query": "shoes",
    "liftos.memory.v1.GetEntryRequest.name": f"orgs/{{org}}/entries/20250303-{'0' * 32}",
}
_ALWAYS_FILLED: Final = ("parent", "name", "stream_id")
_SILENCE_SECONDS: Final = 0.3
_ROW: Final = "liftos.memory.v1.Entry"
_CLEAR_WITHOUT_VIOLATIONS: Final = "ERROR_REASON_BATCH_TOO_LARGE"

_INTEGERS: Final = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_FIXED64: (0, 2**64 - 1),
}


@dataclass(frozen=True, slots=True)
class Rpc:
    """A method that a running server exposes."""

    method: MethodDescriptor
    client_streaming: bool
    server_streaming: bool

    @property
    def path(self) -> str:
        """`/package.Service/Method`."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def request_type(self) -> type[Message]:
        """Class of its requests."""
        found: type[Message] = message_factory.GetMessageClass(self.method.input_type)
        return found


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request with one field that is out of the ordinary.

    Attributes:
        field: Path of the field.
        what: The broken rule, or the value.
        change: Changes a valid request.
    """

    field: str
    what: str
    change: Callable[[Any], None]


async def exposed_methods(channel: grpc.aio.Channel) -> tuple[Rpc, ...]:
    """Ask a server for all its methods but those of health and reflection."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)

    async def ask(**question: Any) -> Any:
        request = reflection_pb2.ServerReflectionRequest(**question)
        return await anext(aiter(stub.ServerReflectionInfo(iter([request]))))

    listed = (await ask(list_services="")).list_services_response.service
    names = [service.name for service in listed if service.name not in INFRASTRUCTURE]
    assert names, "the server exposes something"
    found = []
    for name in names:
        answer = await ask(file_containing_symbol=name)
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            for service in file.service:
                if f"{file.package}.{service.name}" != name:
                    continue
                described = descriptor_pool.Default().FindServiceByName(name)
                found += [
                    Rpc(
                        described.methods_by_name[method.name],
                        method.client_streaming,
                        method.server_streaming,
                    )
                    for method in service.method
                ]
    return tuple(found)


async def answers(
    channel: grpc.aio.Channel,
    rpc: Rpc,
    request: Message,
    metadata: tuple[tuple[str, str], ...],
    *,
    at_most: int = 8,
) -> list[Any]:
    """Return the first answers of a method with one request; an endless stream is left early.

    Raises:
        grpc.aio.AioRpcError: The call was refused.
    """
    codec = _codec(rpc)
    if not rpc.server_streaming:
        return [await channel.unary_unary(rpc.path, **codec)(request, metadata=metadata)]
    call = channel.unary_stream(rpc.path, **codec)(request, metadata=metadata)
    found: list[Any] = []
    while len(found) < at_most:
        # A watch that has told all there is falls silent.
        read = asyncio.ensure_future(call.read())
        done, _ = await asyncio.wait({read}, timeout=_SILENCE_SECONDS if found else None)
        if not done or read.result() is grpc.aio.EOF:
            break
        found.append(read.result())
    call.cancel()
    return found


def _codec(rpc: Rpc) -> dict[str, Any]:
    answer_type = message_factory.GetMessageClass(rpc.method.output_type)
    return {
        "request_serializer": rpc.request_type.SerializeToString,
        "response_deserializer": answer_type.FromString,
    }


async def outcome(
    channel: grpc.aio.Channel,
    rpc: Rpc,
    request: Message,
    metadata: tuple[tuple[str, str], ...] = (),
) -> Refusal | None:
    """Call a method of any kind up to its first answer; return how it was refused, if it was.

    A refusal that is not clear fails the test: see `assert_clear`.
    """
    codec = _codec(rpc)
    options: Any = {"metadata": metadata, "timeout": 20.0}
    try:
        match rpc.client_streaming, rpc.server_streaming:
            case False, False:
                await channel.unary_unary(rpc.path, **codec)(request, **options)
            case True, False:
                await channel.stream_unary(rpc.path, **codec)(iter([request]), **options)
            case False, True:
                call = channel.unary_stream(rpc.path, **codec)(request, **options)
                await anext(aiter(call), None)
                call.cancel()
            case _:
                both: Any = channel.stream_stream(rpc.path, **codec)(iter([request]), **options)
                await anext(aiter(both), None)
                both.cancel()
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        assert_clear(refusal, rpc.path)
        return refusal
    return None


def assert_clear(refusal: Refusal, what: str) -> None:
    """Fail unless a refusal has a code of the contract, its reason, and what helps the caller."""
    told = f"{what}: {refusal}"
    assert refusal.code not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL), told
    if refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not refusal.reason:
        assert "larger than max" in refusal.message, told
        return
    assert refusal.domain == DOMAIN, told
    assert CODES[refusal.reason] is refusal.code, told
    assert refusal.message, told
    if (
        refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        and refusal.reason != _CLEAR_WITHOUT_VIOLATIONS
    ):
        assert refusal.violations, told
    if refusal.code is grpc.StatusCode.UNAVAILABLE:
        assert refusal.retry_seconds is not None, told


def valid_request(rpc: Rpc, org: str) -> Message:
    """Return the least request that keeps every rule of the contract."""
    request = rpc.request_type()
    _fill(request, org)
    return request


def names_in(message: Message, path: str = "") -> Iterator[tuple[str, Callable[[Any, str], None]]]:
    """Yield path and setter of every resource name that a message holds."""
    for field, value in message.ListFields():
        for place, at, item in _items(field, value):
            where = f"{path}{place}"
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                for inner, change in names_in(item, f"{where}."):
                    yield inner, _nested(at, change)
            elif isinstance(item, str) and item.startswith("orgs/"):
                yield where, _setter(field)


def _items(field: FieldDescriptor, value: Any) -> Iterator[tuple[str, Callable[[Any], Any], Any]]:
    name = field.name
    if not field.is_repeated:
        yield name, lambda message: getattr(message, name), value
    elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
        for index, item in enumerate(value):
            yield f"{name}[{index}]", _at(name, index), item


def _at(name: str, index: int) -> Callable[[Any], Any]:
    return lambda message: getattr(message, name)[index]


def _nested(
    at: Callable[[Any], Any], change: Callable[[Any, str], None]
) -> Callable[[Any, str], None]:
    return lambda message, text: change(at(message), text)


def _setter(field: FieldDescriptor) -> Callable[[Any, str], None]:
    return lambda message, text: setattr(message, field.name, text)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """Return a field's rules; empty where it has none."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def _fill(message: Message, org: str) -> None:
    descriptor = cast("Descriptor", message.DESCRIPTOR)
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.oneof].required:
            _set_example(message, oneof.fields[0], org)
    for field in descriptor.fields:
        rules = rules_of(field)
        if field.containing_oneof is not None and not _is_optional(field):
            continue
        lenient = rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE or _is_optional(field)
        wanted = (
            rules.required
            or field.name in _ALWAYS_FILLED
            or field.full_name in _EXAMPLES
            or (field.is_repeated and (rules.repeated.min_items or rules.map.min_pairs))
            or (rules.WhichOneof("type") and not lenient and not field.is_repeated)
        )
        if wanted:
            _set_example(message, field, org)


def _is_optional(field: FieldDescriptor) -> bool:
    oneof = field.containing_oneof
    return oneof is not None and len(oneof.fields) == 1 and oneof.name == f"_{field.name}"


def _set_example(message: Any, field: FieldDescriptor, org: str) -> None:
    rules = rules_of(field)
    if field.is_repeated:
        values = getattr(message, field.name)
        if _is_map(field):
            entry = cast("Descriptor", field.message_type)
            key, value = entry.fields
            values[_example(key, rules.map.keys, org)] = _example(value, rules.map.values, org)
            return
        for _ in range(rules.repeated.min_items or 1):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                _fill(values.add(), org)
            else:
                values.append(_example(field, rules.repeated.items, org))
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        getattr(message, field.name).SetInParent()
        _fill(getattr(message, field.name), org)
    else:
        setattr(message, field.name, _example(field, rules, org))


def _example(field: FieldDescriptor, rules: validate_pb2.FieldRules, org: str) -> Any:
    if field.full_name in _EXAMPLES:
        return str(_EXAMPLES[field.full_name]).replace("{org}", org)
    kind = rules.WhichOneof("type")
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _example_text(rules.string, org)
        case FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            numbers = [value.number for value in field.enum_type.values]
            return next(each for each in numbers if each not in rules.enum.not_in)
        case FieldDescriptor.TYPE_BYTES:
            return b""
        case FieldDescriptor.TYPE_BOOL:
            return False
        case _:
            bounds = getattr(rules, kind) if kind else None
            lowest = 0 if bounds is None else max(bounds.gte, bounds.gt)
            return lowest + (0.5 if kind == "double" else 0)


def _example_text(rules: Any, org: str) -> str:
    if rules.uuid:
        return _UUID
    if getattr(rules, "in"):
        return str(getattr(rules, "in")[0])
    if rules.pattern:
        plain = (each for each in _PLAIN_EXAMPLES if re.search(rules.pattern, each))
        return next(plain, None) or _shortest_match(rules.pattern, org)
    return "a" * int(rules.min_len)


_ORG_PART: Final = "[a-z0-9][a-z0-9-]{0,62}"


def _shortest_match(pattern: str, org: str) -> str:
    """Return a text that a pattern of the contract takes; it names the org where one is named."""
    text = pattern.removeprefix("^").removesuffix("$").replace(_ORG_PART, org)
    text = re.sub(r"\{0,\d+\}|\([^)]*\)\?", "*", text)
    text = re.sub(r"\[[^]]+\]\*|\*", "", text)
    text = re.sub(r"\(([^|()]*)\|[^)]*\)", r"\1", text)
    text = re.sub(r"\[(.)[^]]*\](?:\{(\d+)\})?", lambda m: m[1] * int(m[2] or 1), text)
    assert re.search(pattern, text), f"teach _shortest_match the pattern {pattern}, not {text}"
    return text


def broken_rules(rpc: Rpc, org: str) -> Iterator[Attempt]:
    """Yield every way to break each rule of a method's request."""
    yield from _breaks(rpc.method.input_type, org, seen=())


def _breaks(descriptor: Descriptor, org: str, seen: tuple[str, ...]) -> Iterator[Attempt]:
    if descriptor.full_name in seen or descriptor.full_name.startswith("google.protobuf."):
        return
    seen = (*seen, descriptor.full_name)
    for rule in descriptor.GetOptions().Extensions[validate_pb2.message].cel:
        yield Attempt("", rule.id, _CEL_BREAKS[rule.id])
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.oneof].required:
            yield Attempt(oneof.name, "required", _clearing([each.name for each in oneof.fields]))
    for field in descriptor.fields:
        yield from _field_breaks(field, org)
        if field.message_type is not None and not _is_map(field):
            for inner in _breaks(field.message_type, org, seen):
                yield _within(field, inner, org)


def _reverse_days(message: Any) -> None:
    message.start_date, message.end_date = "2025-03-09", "2025-03-03"


_CEL_BREAKS: Final = {"date_range.order": _reverse_days}


def _clearing(names: list[str]) -> Callable[[Any], None]:
    def clear(message: Any) -> None:
        for name in names:
            message.ClearField(name)

    return clear


def _within(field: FieldDescriptor, inner: Attempt, org: str) -> Attempt:
    place = f"{field.name}[0]" if field.is_repeated else field.name
    where = f"{place}.{inner.field}" if inner.field else place

    def change(message: Any) -> None:
        if field.is_repeated:
            if not getattr(message, field.name):
                _set_example(message, field, org)
            inner.change(getattr(message, field.name)[0])
        else:
            if not message.HasField(field.name):
                _set_example(message, field, org)
            inner.change(getattr(message, field.name))

    return Attempt(where, inner.what, change)


def _field_breaks(field: FieldDescriptor, org: str) -> Iterator[Attempt]:
    rules = rules_of(field)
    if rules.required:
        yield Attempt(field.name, "required", _clearing([field.name]))
    kind = rules.WhichOneof("type")
    if kind is None:
        return
    if field.is_repeated:
        yield from _list_breaks(field, org)
        return
    for rule, value in _bad_values(rules, org):
        if value or rules.ignore != validate_pb2.IGNORE_IF_ZERO_VALUE:
            yield Attempt(field.name, f"{kind}.{rule}", _setting(field.name, value))


def _setting(name: str, value: Any) -> Callable[[Any], None]:
    return lambda message: setattr(message, name, value)


def _holding(name: str, value: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        getattr(message, name)[:] = [value]

    return change


def _list_breaks(field: FieldDescriptor, org: str) -> Iterator[Attempt]:
    name, rules = field.name, rules_of(field).repeated
    is_message = field.type == FieldDescriptor.TYPE_MESSAGE
    example = _example(field, rules.items, org) if not is_message else None

    def grow(count: int) -> Callable[[Any], None]:
        def change(message: Any) -> None:
            values = getattr(message, name)
            while len(values) < count:
                if is_message:
                    _fill(values.add(), org)
                else:
                    values.append(example)

        return change

    for known, _ in rules.ListFields():
        match known.name:
            case "min_items":
                yield Attempt(name, "repeated.min_items", _clearing([name]))
            case "max_items":
                yield Attempt(name, "repeated.max_items", grow(rules.max_items + 1))
            case "unique":
                yield Attempt(name, "repeated.unique", grow(2))
            case "items":
                kind = rules.items.WhichOneof("type")
                for rule, value in _bad_values(rules.items, org):
                    yield Attempt(f"{name}[0]", f"{kind}.{rule}", _holding(name, value))
            case other:
                raise AssertionError(f"teach _list_breaks the rule repeated.{other}")


def _bad_values(  # noqa: C901, PLR0912  # one case for each rule
    rules: validate_pb2.FieldRules, org: str
) -> Iterator[tuple[str, Any]]:
    """Yield (rule, value) of values that break a rule of one text, number or enum."""
    kind = rules.WhichOneof("type")
    assert kind is not None
    bounds: Any = getattr(rules, kind)
    low, high = _INTEGERS.get(getattr(FieldDescriptor, f"TYPE_{kind.upper()}"), (-1e308, 1e308))
    for known, limit in bounds.ListFields():
        values: list[Any]
        match known.name:
            case "pattern":
                values = _mismatches(limit, org)
            case "uuid":
                values = ["1", "nonsense" * 4, f"{{{_UUID}}}", f"{_UUID}\n"]
            case "in":
                values = ["", "nonsense", f"{limit[0]} "]
            case "min_len":
                values = ["a" * (limit - 1)]
            case "max_len":
                values = [b"\0" * (limit + 1)] if kind == "bytes" else ["é" * (limit + 1)]
            case "defined_only":
                values = [-1, 999]
            case "not_in":
                values = list(limit)
            case "gte":
                values = [limit - 1, low]
            case "gt":
                values = [limit, -1.0]
            case "lte":
                values = [limit + 1, high]
            case other:
                raise AssertionError(f"teach _bad_values the rule {kind}.{other}")
        if kind == "double":
            values += [math.nan, math.inf if known.name == "lte" else -math.inf]
        for value in values:
            yield known.name, value


def _mismatches(pattern: str, org: str) -> list[str]:
    exact = re.compile(pattern.replace("$", r"\Z"))
    good = _example_text(validate_pb2.StringRules(pattern=pattern), org)
    tried = ["", "nonsense!", "é" * 3, good[:-1] + "\x00"]
    if good.startswith("orgs/"):
        # Of the own org, so that it is the form that is refused.
        tried += [f"orgs/{org}/", f"orgs/{org}/x y", f"{good}/!", f"{good}/\n"]
        tried = [each for each in tried if not each.startswith("orgs/") or f"{org}/" in each]
    else:
        tried += [f"{good}!", f"{good}\n", f" {good}", "a" * 201, "2025-13-01", "2025-3-1", "usd"]
    return [each for each in tried if not exact.search(each)]


def odd_values(descriptor: Descriptor, org: str, seen: tuple[str, ...] = ()) -> Iterator[Attempt]:
    """Yield changes of a message that put an odd value, allowed or not, into one field.

    Entries within a request are left out: they are checked row by row, and can be tried as rows of
    one batch. So are secrets: their values are watched for, wherever else they stand.
    """
    if descriptor.full_name in seen or (seen and descriptor.full_name == _ROW):
        return
    for field in descriptor.fields:
        if field.GetOptions().debug_redact:
            continue
        if field.message_type is not None:
            if field.message_type.full_name in _ODD_MESSAGES:
                for odd in _ODD_MESSAGES[field.message_type.full_name]:
                    yield Attempt(field.name, repr(odd)[:80], _filling(field, odd))
            else:
                for inner in odd_values(field.message_type, org, (*seen, descriptor.full_name)):
                    yield _within(field, inner, org)
            continue
        for value in _odd_scalars(field):
            if field.is_repeated:
                yield Attempt(field.name, repr(value)[:80], _putting(field.name, value))
            else:
                yield Attempt(field.name, repr(value)[:80], _setting(field.name, value))


_ODD_TEXTS: Final = (
    "\0",
    "a\0b",
    "'; drop table entries; --",
    "' or org <> '",
    '"',
    "\\",
    "%_*",
    "\U0001f600",
    "\u202e\ufeff\ue000",
    "orgs/",
    "{}",
    "NaN",
    "0",
    "a = 1",
    "-" * 150,
)
_ODD_DOUBLES: Final = (math.nan, math.inf, -math.inf, 1e308, -1.0, 5e-324)


def _odd_scalars(field: FieldDescriptor) -> tuple[Any, ...]:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _ODD_TEXTS
        case FieldDescriptor.TYPE_BYTES:
            return (b"\0", b"\xff" * 100)
        case FieldDescriptor.TYPE_DOUBLE:
            return _ODD_DOUBLES
        case FieldDescriptor.TYPE_BOOL:
            return (True,)
        case FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            return (*(value.number for value in field.enum_type.values), -1, 999)
        case _:
            low, high = _INTEGERS[field.type]
            return (low, high, high - 1, 0, 1)


_MASKS: Final = ("", "*", ".", "metrics.", "metrics..clicks", "no.such", "metrics.clicks.x", "\0")
_ODD_MESSAGES: Final[dict[str, tuple[Any, ...]]] = {
    "google.protobuf.Timestamp": (
        {"seconds": -(2**63)},
        {"seconds": 2**63 - 1},
        {"seconds": -62_135_596_801},
        {"seconds": 253_402_300_800},
        {"nanos": -(2**31)},
        {"nanos": 2**31 - 1},
    ),
    "google.protobuf.FieldMask": tuple({"paths": [path]} for path in _MASKS),
    "google.protobuf.Struct": (
        *(
            {"fields": {key: {"number_value": number}}}
            for key, number in (("a", math.nan), ("a", math.inf), ("\0", 1.0), ("", 1e308))
        ),
        {"fields": {"a": {"string_value": "\0"}}},
        {"fields": {"a": {}}},
        {"fields": {"a": {"list_value": {"values": [{"null_value": 0}]}}}},
    ),
}


def _filling(field: FieldDescriptor, odd: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        value = getattr(message, field.name)
        assert field.message_type is not None
        made = message_factory.GetMessageClass(field.message_type)(**odd)
        if field.is_repeated:
            del value[:]
            value.append(made)
        else:
            value.CopyFrom(made)

    return change


def _putting(name: str, value: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        del getattr(message, name)[:]
        getattr(message, name).append(value)

    return change
