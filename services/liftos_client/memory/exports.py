"""Data sets for causal analysis."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_client.arguments import Day, Freshness, consistency, date_range, enum_value
from liftos_client.dataset import Dataset
from liftos_client.errors import FieldInvalidError, FieldViolation
from liftos_client.memory.base import MemoryCalls
from liftos_client.memory.entries import Level
from liftos_client.memory.metrics import Step

if TYPE_CHECKING:
    Format: TypeAlias = pb.DatasetFormat.ValueType | str
    Gaps: TypeAlias = pb.GapPolicy.ValueType | str
else:
    # The generated code names these types for type checkers only.
    Format = Gaps = int | str


class ExportMethods(MemoryCalls):
    """Methods about data sets for causal analysis."""

    async def export_dataset(
        self,
        start_date: Day,
        end_date: Day,
        *,
        format: Format,  # noqa: A002  # the contract's word
        kpi: str,
        granularity: Step = "DAY",
        filter: str = "",  # noqa: A002
        kpi_filter: str = "",
        control_filter: str = "",
        levels: Sequence[Level] = (),
        unit: str = "",
        allow_attributed_kpi: bool = False,
        on_gap: Gaps = "FAIL",
        as_of: datetime | str | None = None,
        currency_code: str = "",
        at_least_as_fresh: Freshness = None,
        timeout_seconds: float | None = None,
    ) -> Dataset:
        """Return a data set for causal analysis: every unit at every step, and a sidecar.

        It goes on by itself after a lost connection.

        Args:
            start_date: First day.
            end_date: Last day; at most 4,000 in all.
            format: "LONG", "MERIDIAN", "PYMC" or "ROBYN".
            kpi: "revenue" or "orders"; "conversions" needs allow_attributed_kpi.
            granularity: "DAY", "WEEK" or "MONTH"; whole ones only.
            filter: Which entries are treatments; see `list_entries`.
            kpi_filter: Which entries of level OUTCOME are the outcome.
            control_filter: Which entries of level CONTROL are controls.
            levels: Levels of treatments, best first; each account is read at one of them.
            unit: Empty for the nation, "account_id", or a breakdown such as "country".
            allow_attributed_kpi: Take what platforms claim as the outcome, with a caveat.
            on_gap: "FAIL", "TRIM" or "ZERO".
            as_of: As the store was then, as a moment or as text with a zone; the `as_of` of a
                sidecar gives the same bytes again. None is the newest write.
            currency_code: Currency of all money; empty is the org's base currency.
            at_least_as_fresh: A write that the data set has to cover.
            timeout_seconds: Deadline of the whole.

        Raises:
            DataInsufficientError: There are gaps; `field_violations` names them.
            RateMissingError: A currency cannot be converted.
        """
        request = pb.ExportDatasetRequest(
            parent=self._parent,
            date_range=date_range(start_date, end_date),
            format=enum_value(pb.DatasetFormat, format, field="format"),
            granularity=enum_value(pb.Granularity, granularity, field="granularity"),
            filter=filter,
            kpi_filter=kpi_filter,
            control_filter=control_filter,
            levels=[enum_value(EntryLevel, level, field="levels") for level in levels],
            unit=unit,
            kpi=kpi,
            allow_attributed_kpi=allow_attributed_kpi,
            on_gap=enum_value(pb.GapPolicy, on_gap, field="on_gap"),
            as_of=_moment(as_of),
            currency_code=currency_code,
            consistency=consistency(at_least_as_fresh),
        )
        pieces = [
            piece
            async for piece in self._calls.resume(
                self._stub.ExportDataset, request, timeout_seconds
            )
        ]
        sidecar = json_format.MessageToDict(pieces[-1].sidecar)
        return Dataset(
            b"".join(piece.arrow for piece in pieces),
            {name: _plain(value) for name, value in sidecar.items()},
        )

    async def export_dataset_to(
        self,
        directory: str | Path,
        start_date: Day,
        end_date: Day,
        **choices: Any,  # noqa: ANN401  # those of export_dataset
    ) -> Dataset:
        """Export as `export_dataset` does, and write the files of `Dataset.write`."""
        dataset = await self.export_dataset(start_date, end_date, **choices)
        await asyncio.to_thread(dataset.write, directory)
        return dataset


def _plain(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return a JSON value with whole numbers as ints; JSON objects know one kind of number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _moment(as_of: datetime | str | None) -> Timestamp | None:
    if as_of is None:
        return None
    moment = Timestamp()
    if isinstance(as_of, str):
        try:
            as_of = datetime.fromisoformat(as_of)
        except ValueError as error:
            description = f"{as_of!r} is no moment; write it as 2026-01-31T06:00:00Z"
            raise FieldInvalidError(
                f"as_of: {description}",
                code=grpc.StatusCode.INVALID_ARGUMENT,
                field_violations=[FieldViolation("as_of", description, "timestamp")],
            ) from error
    # One without a zone is taken for UTC, as all moments of the contract are.
    moment.FromDatetime(as_of if as_of.tzinfo is None else as_of.astimezone(UTC))
    return moment
