"""Dead letters as messages."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from google.rpc.code_pb2 import INVALID_ARGUMENT

from liftos.common.v1.marketing_pb2 import ItemError
from liftos.ingestion.v1 import run_pb2
from liftos_ingestion.convert.raw_rows import row_message
from liftos_ingestion.convert.runs import RUN_NAME
from liftos_ingestion.dead_letter_ports import DeadLetterState, Selection
from liftos_ingestion.domain.dead_letter_filters import DEAD_LETTER_FIELDS
from liftos_ingestion.run_view_ports import Row
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.names import Pattern
from liftos_kit.structs import timestamp

DEAD_LETTER_NAME: Final = Pattern("orgs/{org}/runs/{run}/deadLetters/{dead_letter}")

_ANY_RUN: Final = "-"
_REASON: Final = "ERROR_REASON_FIELD_INVALID"


def dead_letter_ids(name: str) -> tuple[UUID, UUID]:
    """Return the ids of the run and of the dead letter in a name."""
    ids = DEAD_LETTER_NAME.parse(name)
    return UUID(ids["run"]), UUID(ids["dead_letter"])


def run_of_parent(parent: str) -> UUID | None:
    """Return the id of the run that a parent names; None where it means all runs."""
    if parent.rpartition("/")[2] == _ANY_RUN:
        return None
    return UUID(RUN_NAME.parse(parent, field="parent")["run"])


def selection_of(org: str, parent: str, names: Sequence[str], where: str) -> Selection:
    """Return what a request chooses; names it by ids.

    Raises:
        InvalidFieldsError: A name is of another org than the parent.
        FilterError: The filter is none.
    """
    found = []
    for index, name in enumerate(names):
        ids = DEAD_LETTER_NAME.parse(name, field=f"names[{index}]")
        if ids["org"] != org:
            raise InvalidFieldsError.of(f"names[{index}]", "is of another org", rule="parent")
        found.append(UUID(ids["dead_letter"]))
    return Selection(run_of_parent(parent), tuple(found), parse_filter(where, DEAD_LETTER_FIELDS))


def dead_letter_message(org: str, row: Row) -> run_pb2.DeadLetter:
    """Return the message of a dead letter."""
    replay_run = row["replay_run"]
    return run_pb2.DeadLetter(
        name=DEAD_LETTER_NAME.format(
            org=org, run=row["run"].hex, dead_letter=row["dead_letter"].hex
        ),
        state=run_pb2.DeadLetterState.ValueType(DeadLetterState(row["state"])),
        platform=row["platform"],
        account_id=row["account_id"],
        level=row["level"],
        date="" if row["date"] is None else row["date"].isoformat(),
        row=row_message(row["row"]),
        errors=[_error(error) for error in row["errors"]],
        attempt_count=row["attempt_count"],
        replay_run="" if replay_run is None else RUN_NAME.format(org=org, run=replay_run.hex),
        discard_reason=row["discard_reason"],
        create_time=timestamp(row["create_time"]),
        update_time=timestamp(row["update_time"]),
    )


def _error(error: Mapping[str, Any]) -> ItemError:
    return ItemError(
        code=INVALID_ARGUMENT,
        reason=_REASON,
        field=error["field"],
        message=error["message"],
        rule=error["code"],
    )
