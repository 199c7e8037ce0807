"""What causal exports need from the outside."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

import pandas as pd

from liftos_memory.domain.calendar import CalendarEvent
from liftos_memory.domain.dataset_request import DatasetRequest, Step
from liftos_memory.domain.lift_tests import Experiments
from liftos_memory.domain.panel_accounts import Series
from liftos_memory.org_ports import OrgSettings


@dataclass(frozen=True, slots=True)
class Moment:
    """One state of an org's data.

    Attributes:
        version: Its newest commit.
        as_of: A time at which it was that state: no later commit can come to lie before it.
    """

    version: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class DailyRates:
    """Worth of currencies on days, in the base currency; the target itself is left out.

    Attributes:
        target: The currency that money becomes.
        from_rates: Worth of one unit of a currency on a day.
        to_rates: Worth of one unit of the target on a day.
    """

    target: str
    from_rates: Mapping[tuple[str, date], Decimal]
    to_rates: Mapping[date, Decimal]


class PanelReading(Protocol):
    """Reads of one state; see the modules of the domain for the columns of frames."""

    @property
    def moment(self) -> Moment:
        """The state that is read."""

    async def settings(self) -> OrgSettings:
        """Return the settings."""

    async def events(self) -> Sequence[CalendarEvent]:
        """Return the org's own events, by first day and id."""

    async def experiments(self) -> Sequence[Experiments]:
        """Return the artifacts that may hold lift tests, by id."""

    async def rates(
        self, currency_codes: Sequence[str]
    ) -> Mapping[str, Sequence[tuple[date, Decimal]]]:
        """Return the rates of currencies by day."""

    async def survey(self, request: DatasetRequest, steps: Sequence[Step]) -> pd.DataFrame:
        """Return what there is on each day of each account: `SURVEY_COLUMNS`."""

    async def slices(self, series: Sequence[Series], steps: Sequence[Step]) -> pd.DataFrame:
        """Return the committed slices of accounts that touch the steps; see `connected_days`."""

    async def removals(self, series: Sequence[Series], steps: Sequence[Step]) -> pd.DataFrame:
        """Return where entries were taken out other than by a slice; see `connected_days`."""

    async def values(
        self,
        request: DatasetRequest,
        series: Sequence[Series],
        steps: Sequence[Step],
        rates: DailyRates,
    ) -> pd.DataFrame:
        """Return sums by step: `VALUE_COLUMNS`.

        Raises:
            InvalidFieldsError: There are too many of them, or one does not fit into 64 bits.
        """

    async def qualities(
        self, request: DatasetRequest, series: Sequence[Series], steps: Sequence[Step]
    ) -> pd.DataFrame:
        """Return what was found about the entries behind the sums: `QUALITY_COLUMNS`.

        Raises:
            InvalidFieldsError: There are too many different findings.
        """

    async def controls(self, request: DatasetRequest, steps: Sequence[Step]) -> pd.DataFrame:
        """Return means of outside series by step: `CONTROL_COLUMNS`."""


class PanelStore(Protocol):
    """States of orgs' data, of now and of before."""

    def reading(
        self, org: str, as_of: datetime | None
    ) -> AbstractAsyncContextManager[PanelReading]:
        """Open the state of a moment; None is that of the newest commit.

        Raises:
            InvalidFieldsError: The moment lies in the future, or before what is kept.
        """
