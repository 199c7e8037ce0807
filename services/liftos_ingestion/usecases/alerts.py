"""Alerts as people look at them and take them up."""

from uuid import UUID

from liftos_ingestion.alert_ports import AlertStore
from liftos_ingestion.domain.alerts import AlertState
from liftos_ingestion.run_view_ports import Page, Row
from liftos_kit.core.errors import NotFoundError, StateTransitionError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable


class Alerts:
    """Shows alerts and lets people take them up.

    Args:
        store: Where they are.
    """

    def __init__(self, store: AlertStore) -> None:
        self._store = store

    async def get(self, org: str, alert: UUID) -> Row:
        """Return an alert.

        Raises:
            NotFoundError: There is none.
        """
        row = await self._store.get(org, alert)
        if row is None:
            raise NotFoundError(f"orgs/{org}/alerts/{alert.hex}")
        return row

    async def list_alerts(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return a page of alerts, open ones first, then newest first."""
        return await self._store.list_alerts(org, where=where, cursor=cursor, limit=limit)

    async def acknowledge(
        self,
        org: str,
        alert: UUID,
        *,
        subject: str,
        comment: str,
        repeatable: Repeatable[Row] | None,
    ) -> Row | bytes:
        """Take an alert up, so that nothing more is sent of it until its end.

        Returns:
            The alert, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is none.
            StateTransitionError: It is resolved.
        """
        try:
            row = await self._store.acknowledge(
                org, alert, subject=subject, comment=comment, repeatable=repeatable
            )
        except AnsweredBeforeError as answered:
            return answered.response
        if row is None:
            state = AlertState((await self.get(org, alert))["state"])
            raise StateTransitionError(
                f"orgs/{org}/alerts/{alert.hex}",
                state=state.name,
                allowed_states=[AlertState.OPEN.name, AlertState.ACKNOWLEDGED.name],
            )
        return row
