"""Which revision of the API a request gets, by its headers and the day.

A revision is stable for a year, deprecated for another and then retired. A request for a retired
or an unknown revision falls forward, in silence, to a supported one, unless it opts out by header.
The simulator speaks one revision, the one that `SERVED` names.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

SERVED: Final = date(2026, 10, 15)
"""The revision whose shapes the simulator answers in."""

RELEASES: Final = tuple(
    date.fromisoformat(day)
    for day in (
        "2022-10-17", "2023-01-24", "2023-02-22", "2023-06-15", "2023-07-15", "2023-08-15",
        "2023-09-15", "2023-10-15", "2023-12-15", "2024-02-15", "2024-05-15", "2024-06-15",
        "2024-07-15", "2024-10-15", "2025-01-15", "2025-04-15", "2025-07-15", "2025-10-15",
        "2026-01-15", "2026-04-15", "2026-07-15", "2026-10-15",
    )
)  # fmt: skip
"""Every revision released, in order."""

_SUPPORT_YEARS: Final = 2


class RevisionMissingError(Exception):
    """The header is absent, no date, or of a day that has not come."""


class RevisionRetiredError(Exception):
    """The revision is not supported any more, and the request does not want another."""


class RevisionNotSimulatedError(Exception):
    """The revision is alive at Klaviyo, but the simulator does not speak it."""


@dataclass(frozen=True, slots=True)
class ServedRevision:
    """What a request is answered with.

    Attributes:
        asked: What the header says.
        served: The revision of the answer.
    """

    asked: date
    served: date

    @property
    def fell_forward(self) -> bool:
        """Whether the answer is of another revision than the one asked for."""
        return self.asked != self.served


def retirement(release: date) -> date:
    """Return the first day on which `release` is not supported."""
    return release.replace(year=release.year + _SUPPORT_YEARS)


def resolve_revision(header: str | None, opt_out: str | None, today: date) -> ServedRevision:
    """Return the revision that answers a request.

    Args:
        header: The value of `revision`, or None.
        opt_out: The value of `X-Klaviyo-Revision-Fall-Forward-Opt-Out`, or None; `1` opts out.
        today: The day, in UTC.

    Raises:
        RevisionMissingError: There is no usable header.
        RevisionRetiredError: It is retired or was never released, and the request opts out.
        RevisionNotSimulatedError: It is supported, and older than the one served here.
    """
    try:
        asked = date.fromisoformat(header or "")
    except ValueError as error:
        raise RevisionMissingError(
            "The 'revision' header is required, as in 'revision: 2026-10-15'."
        ) from error
    if asked == SERVED and today < retirement(SERVED):
        return ServedRevision(asked, SERVED)
    if asked > today:
        raise RevisionMissingError(f"The revision '{asked}' is in the future.")
    if asked in RELEASES and today < retirement(asked):
        raise RevisionNotSimulatedError(f"Only revision '{SERVED}' is simulated, not '{asked}'.")
    if opt_out == "1":
        raise RevisionRetiredError(f"The revision '{asked}' is no longer supported.")
    return ServedRevision(asked, SERVED)
