"""Routes of insights, as people make, change and try them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from liftos_kit.core.errors import (
    EtagMismatchError,
    InvalidFieldsError,
    NotFoundError,
    StoreUnavailableError,
    VerificationFailedError,
)
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_kit.notify.notifier import (
    Message,
    NotificationFailedError,
    Notifier,
    Severity,
    TargetRefusedError,
)
from liftos_kit.secrets.secret import Secret
from liftos_memory.domain.insights import route_name
from liftos_memory.insight_route_ports import (
    InsightRouteStore,
    RouteSpec,
    SealedTarget,
    StoredRoute,
    TargetUnusableError,
    TargetVault,
)

TARGET_URL: Final = "target_url"
"""The field of a route's secret."""

_FIELD: Final = f"insight_route.{TARGET_URL}"
_NOTIFIER: Final = "notifier"

Result = TypeVar("Result")


class InsightRoutes:
    """Makes, changes, shows and tries routes.

    Args:
        store: Where they are.
        vault: Seals their targets.
        notifier: Checks targets, and sends.
    """

    def __init__(self, store: InsightRouteStore, vault: TargetVault, notifier: Notifier) -> None:
        self._store = store
        self._vault = vault
        self._notifier = notifier

    async def create(
        self,
        org: str,
        insight_route: str,
        spec: RouteSpec,
        target_url: Secret | None,
        *,
        repeatable: Repeatable[StoredRoute],
    ) -> StoredRoute | bytes:
        """Store a route.

        Returns:
            The route, or the answer that the same request was given before.

        Raises:
            AlreadyExistsError: The id is taken.
            InvalidFieldsError: Nothing can be sent to its target.
            StoreUnavailableError: Its target could not be checked.
        """
        if target_url is None:
            raise InvalidFieldsError.of(_FIELD, "must be given", rule="required")
        answer = await self._answer(org, repeatable)
        if answer is not None:
            return answer
        target = await self._checked(org, insight_route, target_url)
        try:
            return await self._store.create(org, insight_route, spec, target, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def update(
        self,
        org: str,
        insight_route: str,
        spec: RouteSpec,
        target_url: Secret | None,
        *,
        reseal: bool,
        fields: Collection[str],
        revision: int | None,
        repeatable: Repeatable[StoredRoute] | None,
    ) -> StoredRoute | bytes:
        """Change a route.

        Args:
            org: The org.
            insight_route: Its id.
            spec: Holds the new values.
            target_url: Its new target; None keeps the one it has.
            reseal: Whether the one it has is encrypted again with the newest key; a new one is
                in any case.
            fields: Fields of the specification that change.
            revision: The one that was read; None takes the newest.
            repeatable: Set where the request carries a request_id.

        Returns:
            The route, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is none.
            EtagMismatchError: It was changed since it was read.
            InvalidFieldsError: Nothing can be sent to its target.
            StoreUnavailableError: Its target could not be checked.
            VerificationFailedError: The target it has does not open.
        """
        answer = None if repeatable is None else await self._answer(org, repeatable)
        if answer is not None:
            return answer
        # Before a target is checked, which takes a second.
        before = await self.get(org, insight_route)
        _check_revision(before, org, revision)
        target: SealedTarget | None = None
        if target_url is not None:
            target = await self._checked(org, insight_route, target_url)
        elif reseal:
            target = self._resealed(org, before)

        def change(stored: StoredRoute) -> tuple[RouteSpec, SealedTarget]:
            _check_revision(stored, org, revision)
            changed = replace(stored.spec, **{name: getattr(spec, name) for name in fields})
            if target is None or (target_url is None and stored.target != before.target):
                # Somebody has set another one meanwhile, which the newest key encrypts anyway.
                return changed, stored.target
            return changed, target

        try:
            return await self._store.change(org, insight_route, change, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def delete(
        self, org: str, insight_route: str, *, revision: int | None, repeatable: Repeatable[None]
    ) -> bytes | None:
        """Remove a route.

        Returns:
            The answer that the same request was given before, or None.

        Raises:
            NotFoundError: There is none.
            EtagMismatchError: It was changed since it was read.
        """

        def check(stored: StoredRoute) -> None:
            _check_revision(stored, org, revision)

        try:
            await self._store.delete(org, insight_route, check, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response
        return None

    async def get(self, org: str, insight_route: str) -> StoredRoute:
        """Return a route.

        Raises:
            NotFoundError: There is none.
        """
        stored = await self._store.get(org, insight_route)
        if stored is None:
            raise NotFoundError(route_name(org, insight_route))
        return stored

    async def list_page(
        self, org: str, *, after: str, limit: int
    ) -> tuple[Sequence[StoredRoute], str | None]:
        """Return a page of routes, and the id that the next one begins behind; None at the end."""
        found = await self._store.list_page(org, after=after, limit=limit + 1)
        if len(found) <= limit:
            return found, None
        return found[:limit], found[limit - 1].insight_route

    async def test(
        self, org: str, insight_route: str, *, repeatable: Repeatable[str]
    ) -> str | bytes:
        """Send a message that says it is a test, also where the route is disabled.

        Returns:
            Why it did not go out, empty where it did; or the answer that the same request was
            given before.

        Raises:
            NotFoundError: There is no such route.
        """
        answer = await self._answer(org, repeatable)
        if answer is not None:
            return answer
        stored = await self.get(org, insight_route)
        message = Message(
            "Test of an insight route",
            f"{route_name(org, insight_route)} works. Insights of LiftOS will arrive here.",
            Severity.INFO,
        )
        error = ""
        try:
            name = route_name(org, insight_route)
            target_url = self._vault.open(stored.target, resource_name=name)
            await self._notifier.send(target_url, message)
        except (TargetUnusableError, NotificationFailedError) as failure:
            error = str(failure)
        try:
            await self._store.record_sending(org, insight_route, error, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response
        return error

    async def _answer(self, org: str, repeatable: Repeatable[Result]) -> bytes | None:
        """Return the answer that a request was given before, so that nothing is sent twice."""
        return await self._store.find_answer(
            org, repeatable.method, repeatable.request_id, repeatable.payload_digest
        )

    def _resealed(self, org: str, stored: StoredRoute) -> SealedTarget:
        name = route_name(org, stored.insight_route)
        try:
            target_url = self._vault.open(stored.target, resource_name=name)
            return self._vault.seal(target_url, kind=stored.target.kind, resource_name=name)
        except TargetUnusableError as error:
            raise VerificationFailedError(
                TARGET_URL, measured=error.problem, threshold="one that can be read"
            ) from error

    async def _checked(self, org: str, insight_route: str, target_url: Secret) -> SealedTarget:
        try:
            kind = await self._notifier.check(target_url)
            return self._vault.seal(
                target_url, kind=kind, resource_name=route_name(org, insight_route)
            )
        except TargetRefusedError as error:
            raise InvalidFieldsError.of(_FIELD, error.remedy, rule=error.problem) from None
        except NotificationFailedError:
            raise StoreUnavailableError(_NOTIFIER) from None
        except TargetUnusableError as error:
            raise InvalidFieldsError.of(_FIELD, error.problem, rule="target") from None


def _check_revision(stored: StoredRoute, org: str, revision: int | None) -> None:
    if revision is not None and stored.revision != revision:
        raise EtagMismatchError(route_name(org, stored.insight_route))
