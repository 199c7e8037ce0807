"""Reads the contract as it is generated, with the comments of its sources.

`python -m tests.protos.contract_reader` writes the tables of docs/contract.md anew.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow as pa
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from liftos.common.v1 import error_reason_pb2
from liftos.memory.v1 import entry_pb2
from liftos_mapping.entry_fields import ENTRY_FIELDS
from protos import generate

DOCUMENT: Final = generate.ROOT / "docs" / "contract.md"
PACKAGES: Final = (
    "liftos.common.v1",
    "liftos.memory.v1",
    "liftos.ingestion.v1",
    "liftos.migration.v1",
    "liftos.causal.v1",
)


@dataclass(frozen=True, slots=True)
class Reason:
    """One value of ErrorReason, as its comment documents it."""

    name: str
    code: str
    meaning: str


def sources() -> tuple[Path, ...]:
    """Return our .proto files."""
    return tuple(sorted((generate.PROTOS / "liftos").rglob("*.proto")))


@cache
def files() -> tuple[FileDescriptor, ...]:
    """Return the descriptors of our files, as gen/ holds them."""
    modules = [
        str(path.relative_to(generate.PROTOS).with_suffix("")).replace("/", ".") + "_pb2"
        for path in sources()
    ]
    return tuple(importlib.import_module(module).DESCRIPTOR for module in modules)


def messages() -> Iterator[Descriptor]:
    """Yield every message of the contract."""
    for file in files():
        yield from file.message_types_by_name.values()


def enums() -> Iterator[EnumDescriptor]:
    """Yield every enum of the contract."""
    for file in files():
        yield from file.enum_types_by_name.values()


def methods() -> Iterator[MethodDescriptor]:
    """Yield every method of the contract."""
    for file in files():
        for service in file.services_by_name.values():
            yield from service.methods


@cache
def comments() -> Mapping[str, str]:
    """Return the comment of every message, field, enum value and method, by full name."""
    with TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        generate.build_image(image)
        found = FileDescriptorSet.FromString(image.read_bytes())
    return {
        name: text
        for file in found.file
        if file.package in PACKAGES
        for name, text in _comments_of(file)
    }


def _comments_of(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        name = _name_at(file, tuple(location.path))
        if name:
            yield f"{file.package}.{name}", " ".join(location.leading_comments.split())


def _name_at(file: FileDescriptorProto, path: tuple[int, ...]) -> str | None:
    """Return the name of what a location's path of field numbers and indexes points to."""
    name = None
    match path:
        case (4, message):
            name = file.message_type[message].name
        case (4, message, 2, field):
            parent = file.message_type[message]
            name = f"{parent.name}.{parent.field[field].name}"
        case (5, enum):
            name = file.enum_type[enum].name
        case (5, enum, 2, value):
            # Values stand beside their enum, not below it, as in C++.
            name = file.enum_type[enum].value[value].name
        case (6, service):
            name = file.service[service].name
        case (6, service, 2, method):
            owner = file.service[service]
            name = f"{owner.name}.{owner.method[method].name}"
    return name


def reasons() -> tuple[Reason, ...]:
    """Return every reason that can be sent, with the gRPC code that its comment begins with."""
    found = []
    for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values[1:]:
        code, _, meaning = comments()[f"liftos.common.v1.{value.name}"].partition(" ")
        found.append(
            Reason(value.name.removeprefix("ERROR_REASON_"), code.strip(".,"), meaning.strip())
        )
    return tuple(found)


def given_fields() -> dict[str, FieldDescriptor]:
    """Return the fields of an entry that writers give, by their path, without output only ones."""
    found: dict[str, FieldDescriptor] = {}
    for field in entry_pb2.Entry.DESCRIPTOR.fields:
        if comments()[field.full_name].startswith("Output only"):
            continue
        if field.message_type and field.name != "actions":
            found |= {f"{field.name}.{inner.name}": inner for inner in field.message_type.fields}
        else:
            found[field.name] = field
    return found


def reason_table() -> str:
    """Return the table of error reasons for the document."""
    rows = [f"| `{reason.name}` | {reason.code} | {reason.meaning} |" for reason in reasons()]
    return "\n".join(["| reason | code | meaning and metadata |", "|---|---|---|", *rows])


def column_table() -> str:
    """Return the table of Arrow columns for the document."""
    paths = {path.rpartition(".")[2]: path for path in given_fields()}
    rows = [
        f"| `{field.name}` | {_arrow_type(field.type)} | `{paths[field.name]}` "
        f"| {field.kind.value} |"
        for field in ENTRY_FIELDS
    ]
    head = "| column | Arrow type | field of `Entry` | kind |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def _arrow_type(type_: pa.DataType) -> str:
    if not pa.types.is_list(type_):
        return str(type_)
    inner = ", ".join(f"{field.name}: {field.type}" for field in type_.value_type)
    return f"list of struct ({inner})"


def with_tables(text: str) -> str:
    """Return the document's text with its tables replaced by those of now."""
    for mark, table in (("error reasons", reason_table()), ("entry columns", column_table())):
        begin, end = f"<!-- begin {mark} -->", f"<!-- end {mark} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))
