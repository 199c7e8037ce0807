"""Mappings of migrations as files: YAML of the contract's `Mapping`, with short words for enums.

version: "1"
tables:
  - table: public.campaign_performance
    target: ENTRIES
    rules:
      - {field: date, expression: day}
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import Message

from liftos.migration.v1.plan_pb2 import Mapping, MappingQuestion, MappingSample, TableMapping
from liftos_cli.errors import CommandError
from liftos_cli.object_files import ObjectFile, read_object_file
from liftos_cli.output import as_json
from liftos_cli.yaml_objects import yaml_text

FIELD: Final = "migration.mapping"
"""What a mapping is called in requests."""

_WIDTH: Final = 96
_SHOWN: Final = 60


def read_mapping_file(path: Path) -> tuple[ObjectFile, Mapping]:
    """Read the mapping of a file; - is stdin.

    Raises:
        CommandError: It cannot be read, or is none.
    """
    file = read_object_file(path)
    value = _with_whole_words(file.value, Mapping.DESCRIPTOR)
    try:
        return file, json_format.ParseDict(value, Mapping())
    except json_format.ParseError as error:
        raise CommandError(
            f"{path} is no mapping: {error}", advice="correct the file; docs/migration.md has all"
        ) from None


def mapping_text(
    mapping: Mapping,
    *,
    samples: Sequence[MappingSample] = (),
    questions: Sequence[MappingQuestion] = (),
) -> str:
    """Return the file of a mapping, with what a person should look at as comments.

    Args:
        mapping: What the file holds.
        samples: Rows beside what they become; each stands before its table.
        questions: What a person must decide; each stands before its table, or at the top.
    """
    tables = {table.table for table in mapping.tables}
    loose = [each for each in questions if _table_of(each.object, tables) is None]
    lines = ["# Draft of a mapping: look at each table, decide what is asked, then give it with"]
    lines.append("# `liftos migration update MIGRATION --mapping FILE`.")
    lines += _question_lines(loose)
    without_tables = Mapping()
    without_tables.CopyFrom(mapping)
    del without_tables.tables[:]
    lines.append(_yaml(without_tables).rstrip("\n"))
    if mapping.tables:
        lines.append("tables:")
    for table in mapping.tables:
        lines.append("")
        own = [each for each in questions if _table_of(each.object, tables) == table.table]
        lines += [f"  {line}" for line in _question_lines(own)]
        for sample in samples:
            if sample.table == table.table:
                lines += [f"  {line}" for line in _sample_lines(sample)]
        lines += _item(table)
    return "\n".join(line for line in lines if line != "{}") + "\n"


def _table_of(object_: str, tables: Iterable[str]) -> str | None:
    """Return the table that a question is about: its own name, or that of its column."""
    return next(
        (each for each in tables if object_ == each or object_.startswith(f"{each}.")), None
    )


def _question_lines(questions: Sequence[MappingQuestion]) -> Iterator[str]:
    for each in questions:
        yield f"# QUESTION {each.object}: {' '.join(each.question.split())}"
        for choice in each.choices:
            yield f"#   - {' '.join(choice.split())}"


def _sample_lines(sample: MappingSample) -> Iterator[str]:
    yield from _comment("row", sample.source_row)
    if sample.HasField("target_record"):
        yield from _comment("becomes", sample.target_record)
    for error in sample.errors:
        yield f"#   refused: {error.field}: {' '.join(error.message.split())}"


def _comment(title: str, message: Message) -> Iterator[str]:
    value: Any = as_json(message)
    parts = [f"{name}={_short(each)}" for name, each in value.items()]
    line = f"# {title}:"
    for part in parts:
        if len(line) + len(part) >= _WIDTH:
            yield line
            line = "#    "
        line += f" {part}"
    yield line


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _item(table: TableMapping) -> Iterator[str]:
    for number, line in enumerate(_yaml(table).splitlines()):
        yield f"  - {line}" if number == 0 else f"    {line}"


def _yaml(message: Message) -> str:
    value = json_format.MessageToDict(message, preserving_proto_field_name=True)
    descriptor: Any = message.DESCRIPTOR
    return yaml_text(_with_short_words(value, descriptor))


def _with_whole_words(value: Any, descriptor: Descriptor) -> Any:  # noqa: ANN401  # of JSON
    return _renamed(value, descriptor, _whole)


def _with_short_words(value: Any, descriptor: Descriptor) -> Any:  # noqa: ANN401  # of JSON
    return _renamed(value, descriptor, lambda enum, word: word.removeprefix(_prefix(enum)))


def _renamed(value: Any, descriptor: Descriptor, rename: Any) -> Any:  # noqa: ANN401  # of JSON
    if not isinstance(value, dict):
        return value
    renamed = {}
    for name, each in value.items():
        field = descriptor.fields_by_name.get(name)
        if field is not None and field.enum_type is not None and isinstance(each, str):
            renamed[name] = rename(field.enum_type, each)
        elif field is not None and field.message_type is not None:
            inner = field.message_type
            many = isinstance(each, list)
            renamed[name] = (
                [_renamed(it, inner, rename) for it in each]
                if many
                else _renamed(each, inner, rename)
            )
        else:
            renamed[name] = each
    return renamed


def _whole(enum: EnumDescriptor, word: str) -> str:
    """Return the contract's name of a word; one that is not known stays for the error to name."""
    name = _prefix(enum) + word.upper()
    return name if name in enum.values_by_name else word


def _prefix(enum: EnumDescriptor) -> str:
    return enum.values[0].name.removesuffix("UNSPECIFIED")
