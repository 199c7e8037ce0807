"""Holding accounts to what is known of them: their days and their money hang on it."""

from collections import OrderedDict
from typing import Final

from liftos_ingestion.domain.failures import ReadingError, account_changed
from liftos_ingestion.source_ports import PlatformAccount
from liftos_kit.core.clock import Clock

_KNOWN: Final = 100_000

_FRESH_SECONDS: Final = 60.0
"""How long what a platform said of an account is taken for true."""


def require_unchanged(account: PlatformAccount, *, currency_code: str, time_zone: str) -> None:
    """Compare what is known of an account with what the platform says now.

    Raises:
        ReadingError: It has other money or other days.
    """
    for what, known, said in (
        ("currency", account.currency_code, currency_code),
        ("time zone", account.time_zone, time_zone),
    ):
        if known != said:
            how = f"its {what} is {said} and was {known}"
            raise ReadingError(account_changed(account.account_id, how))


class RecentChecks:
    """Remembers which accounts were found unchanged lately, to spare asking for each reading.

    Args:
        clock: Measures how long ago.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._checked: OrderedDict[PlatformAccount, float] = OrderedDict()

    def is_due(self, account: PlatformAccount) -> bool:
        """Tell whether the platform has to be asked."""
        then = self._checked.get(account)
        return then is None or self._clock.monotonic_seconds() - then >= _FRESH_SECONDS

    def found_unchanged(self, account: PlatformAccount) -> None:
        """Remember that the account is as known."""
        self._checked[account] = self._clock.monotonic_seconds()
        self._checked.move_to_end(account)
        if len(self._checked) > _KNOWN:
            self._checked.popitem(last=False)
