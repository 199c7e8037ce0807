"""Files of mappings: read, drafted, and read again as they were."""

from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct

from liftos.common.v1.marketing_pb2 import ItemError
from liftos.migration.v1.plan_pb2 import (
    Mapping,
    MappingQuestion,
    MappingSample,
    MappingTarget,
    TableMapping,
    Waiver,
)
from liftos_cli.errors import CommandError
from liftos_cli.mapping_files import mapping_text, read_mapping_file

MAPPING = Mapping(
    version="1",
    tables=[
        TableMapping(
            table="public.spend",
            target=MappingTarget.MAPPING_TARGET_ENTRIES,
            row_filter="amount > 0 -- 'quoted': yes",
        ),
        TableMapping(table="public.notes", target=MappingTarget.MAPPING_TARGET_NOTES),
    ],
    waivers=[Waiver(object="public.old", reason="kept for nothing")],
)


def _struct(**values: str | float) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


def test_a_drafted_file_reads_as_the_draft(tmp_path: Path) -> None:
    """Comments, samples and questions change nothing of it."""
    text = mapping_text(
        MAPPING,
        samples=[
            MappingSample(
                table="public.spend",
                source_row=_struct(day="2026-01-01", amount=12.5),
                target_record=_struct(spend_micros=12_500_000),
            ),
            MappingSample(
                table="public.notes",
                source_row=_struct(body="x" * 200),
                errors=[ItemError(field="body", message="is\ntoo long")],
            ),
        ],
        questions=[
            MappingQuestion(
                object="public.spend.day", question="Which day is it?", choices=["day", "booked"]
            ),
            MappingQuestion(object="public.view", question="Is it derived?"),
        ],
    )
    path = tmp_path / "causal.yaml"
    path.write_text(text)
    _, read = read_mapping_file(path)
    assert read == MAPPING
    lines = text.splitlines()
    table = lines.index("  - table: public.spend")
    assert "    target: ENTRIES" in lines[table:]
    before = lines[:table]
    assert "  # QUESTION public.spend.day: Which day is it?" in before
    assert "  #   - booked" in before
    assert any(line.startswith("  # row: amount=12.5") for line in before)
    assert any(line.startswith("  # becomes: spend_micros=12500000") for line in before)
    assert "  #   refused: body: is too long" in lines
    assert "# QUESTION public.view: Is it derived?" in lines[: lines.index("tables:")]
    assert all(len(line) <= 110 for line in lines)


def test_the_contracts_own_words_are_read_too(tmp_path: Path) -> None:
    """As messages print them."""
    path = tmp_path / "mapping.json"
    path.write_text('{"tables": [{"table": "public.a", "target": "MAPPING_TARGET_NOTES"}]}')
    _, read = read_mapping_file(path)
    assert read.tables[0].target == MappingTarget.MAPPING_TARGET_NOTES


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tables: [{table: public.a, target: WRONG}]", "WRONG"),
        ("tables: [{table: public.a, becomes: NOTES}]", "becomes"),
        ("- public.a", "no object"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    """Unknown words and fields, and what is no mapping at all."""
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    with pytest.raises(CommandError) as raised:
        read_mapping_file(path)
    assert named in raised.value.message
