"""Causal exports on the wire."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.core.errors import InvalidFieldsError, PageTokenError
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import digest_request
from liftos_mapping.entry_fields import LEVELS
from liftos_memory.domain.dataset_request import (
    DatasetFormat,
    DatasetRequest,
    GapPolicy,
    dataset_request,
)
from liftos_memory.domain.metrics_query import Granularity

_FORMATS: Final = dict(enumerate(DatasetFormat, 1))
_POLICIES: Final = {0: GapPolicy.FAIL} | dict(enumerate(GapPolicy, 1))
_GRANULARITIES: Final = {
    pb.GRANULARITY_UNSPECIFIED: Granularity.DAY,
    pb.GRANULARITY_DAY: Granularity.DAY,
    pb.GRANULARITY_WEEK: Granularity.WEEK,
    pb.GRANULARITY_MONTH: Granularity.MONTH,
    pb.GRANULARITY_QUARTER: Granularity.QUARTER,
    pb.GRANULARITY_YEAR: Granularity.YEAR,
    pb.GRANULARITY_TOTAL: Granularity.TOTAL,
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def question_of(request: pb.ExportDatasetRequest) -> DatasetRequest:
    """Return the question of a request.

    Raises:
        InvalidFieldsError: Fields break rules.
        FilterError: The filter cannot be read.
    """
    return dataset_request(
        start_date=request.date_range.start_date,
        end_date=request.date_range.end_date,
        format=_FORMATS[request.format],
        granularity=_GRANULARITIES[request.granularity],
        kpi=request.kpi,
        allow_attributed_kpi=request.allow_attributed_kpi,
        on_gap=_POLICIES[request.on_gap],
        unit=request.unit,
        levels=[LEVELS[level - 1] for level in request.levels],
        filter_text=request.filter,
        kpi_filter_text=request.kpi_filter,
        control_filter_text=request.control_filter,
        currency_code=request.currency_code,
    )


def as_of_of(request: pb.ExportDatasetRequest) -> datetime | None:
    """Return the moment of a request, to the microsecond; None where it names none.

    Raises:
        InvalidFieldsError: It is no moment of the calendar.
    """
    if not request.HasField("as_of"):
        return None
    try:
        return request.as_of.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidFieldsError.of(
            "as_of", "is no moment between the years 1 and 9999", rule="as_of.moment"
        ) from error


@dataclass(frozen=True, slots=True)
class PiecePosition:
    """A place in an export.

    Attributes:
        as_of: The state of the store that it shows.
        sha256: Of the whole stream.
        place: How many pieces the caller has.
    """

    as_of: datetime
    sha256: str
    place: int


class PieceTokens:
    """Places in one export as tokens, bound to the org and to the rest of the request."""

    def __init__(self, tokens: PageTokens, *, org: str, request: pb.ExportDatasetRequest) -> None:
        self._tokens = tokens
        self._org = org
        self._digest = digest_request("ExportDataset", request, without=("resume_token",))

    def read(self, token: str) -> PiecePosition | None:
        """Return the place of a token; None where an export begins.

        Raises:
            InvalidFieldsError: The token is damaged or was given for another request.
        """
        try:
            cursor = self._tokens.decode(token, org=self._org, request_digest=self._digest)
        except PageTokenError as error:
            raise InvalidFieldsError.of(
                "resume_token",
                "is damaged or was given for another request; begin anew, or go on with the same",
                rule="resume_token",
            ) from error
        match cursor:
            case [int(micros), str(sha256), int(place)]:
                return PiecePosition(_EPOCH + micros * _MICROSECOND, sha256, place)
            case _:
                return None

    def write(self, position: PiecePosition) -> str:
        """Return the token of a place."""
        micros = (position.as_of - _EPOCH) // _MICROSECOND
        return self._tokens.encode(
            [micros, position.sha256, position.place], org=self._org, request_digest=self._digest
        )
