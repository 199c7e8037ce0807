"""What is left of the platforms' limits, as all workers see them together."""

from collections.abc import Collection, Sequence

from liftos_ingestion.quota_ports import QuotaState, RateGovernor


class Quotas:
    """Shows limits.

    Args:
        governor: What all workers ask.
        platforms: Sources whose limits there may be.
    """

    def __init__(self, governor: RateGovernor, platforms: Collection[str]) -> None:
        self._governor = governor
        self._platforms = platforms

    async def list(self, org: str, *, platform: str, account_id: str) -> Sequence[QuotaState]:
        """Return limits that are in use, nearest to their end first.

        Args:
            org: Whose.
            platform: Only of this one; empty is all.
            account_id: Only those that this account shares in; empty is all.

        Raises:
            StoreUnavailableError: The governor cannot be reached.
        """
        found = [
            state
            for each in ([platform] if platform else sorted(self._platforms))
            for state in await self._governor.quotas(org, each)
            if not account_id or state.limit.key.shares(account_id)
        ]
        return sorted(found, key=lambda state: state.used / state.limit.capacity, reverse=True)
