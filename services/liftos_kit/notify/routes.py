"""Routes as people make, change and try them."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

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
from liftos_kit.notify.route_store import RouteSpec, RouteStore, StoredRoute
from liftos_kit.notify.targets import TARGET_URL, SealedTarget, TargetUnusableError, TargetVault
from liftos_kit.notify.topic import Topic
from liftos_kit.secrets.secret import Secret

_NOTIFIER: Final = "notifier"

Result = TypeVar("Result")


CheckPlatforms: TypeAlias = Callable[[str, Sequence[str]], Awaitable[None]]
"""Raises the error that a request gets where an org names platforms that the service lacks."""


class Routes:
    """Makes, changes, shows and tries routes.

    Args:
        topic: What is told by them.
        store: Where they are.
        vault: Seals their targets.
        notifier: Checks targets, and sends.
        check_platforms: Refuses unknown ones; its error names the field where it names one.
    """

    def __init__(
        self,
        topic: Topic,
        store: RouteStore,
        vault: TargetVault,
        notifier: Notifier,
        *,
        check_platforms: CheckPlatforms,
    ) -> None:
        self.topic: Final = topic
        self._store = store
        self._vault = vault
        self._notifier = notifier
        self._check_platforms = check_platforms

    async def create(
        self,
        org: str,
        route: str,
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
            DomainError: A platform is unknown.
            InvalidFieldsError: Nothing can be sent to its target.
            StoreUnavailableError: Its target could not be checked.
        """
        if target_url is None:
            raise InvalidFieldsError.of(self._field(TARGET_URL), "must be given", rule="required")
        answer = await self._answer(org, repeatable)
        if answer is not None:
            return answer
        await self._check_platforms(org, spec.platforms)
        target = await self._checked(org, route, target_url)
        try:
            return await self._store.create(org, route, spec, target, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def update(
        self,
        org: str,
        route: str,
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
            route: Its id.
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
            DomainError: A platform is unknown.
            EtagMismatchError: It was changed since it was read.
            InvalidFieldsError: Nothing can be sent to its target.
            StoreUnavailableError: Its target could not be checked.
            VerificationFailedError: The target it has does not open.
        """
        answer = None if repeatable is None else await self._answer(org, repeatable)
        if answer is not None:
            return answer
        # Before a target is checked, which takes a second.
        before = await self.get(org, route)
        self._check_revision(before, org, revision)
        if "platforms" in fields:
            await self._check_platforms(org, spec.platforms)
        target: SealedTarget | None = None
        if target_url is not None:
            target = await self._checked(org, route, target_url)
        elif reseal:
            target = self._resealed(org, before)

        def change(stored: StoredRoute) -> tuple[RouteSpec, SealedTarget]:
            self._check_revision(stored, org, revision)
            changed = replace(stored.spec, **{name: getattr(spec, name) for name in fields})
            if target is None or (target_url is None and stored.target != before.target):
                # Somebody has set another one meanwhile, which the newest key encrypts anyway.
                return changed, stored.target
            return changed, target

        try:
            return await self._store.change(org, route, change, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def delete(
        self, org: str, route: str, *, revision: int | None, repeatable: Repeatable[None]
    ) -> bytes | None:
        """Remove a route.

        Returns:
            The answer that the same request was given before, or None.

        Raises:
            NotFoundError: There is none.
            EtagMismatchError: It was changed since it was read.
        """

        def check(stored: StoredRoute) -> None:
            self._check_revision(stored, org, revision)

        try:
            await self._store.delete(org, route, check, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response
        return None

    async def get(self, org: str, route: str) -> StoredRoute:
        """Return a route.

        Raises:
            NotFoundError: There is none.
        """
        stored = await self._store.get(org, route)
        if stored is None:
            raise NotFoundError(self.topic.route_name(org, route))
        return stored

    async def list_page(
        self, org: str, *, after: str, limit: int
    ) -> tuple[Sequence[StoredRoute], str | None]:
        """Return a page of routes, and the id that the next one begins behind; None at the end."""
        found, more = await self._store.list_page(org, after=after, limit=limit)
        return found, found[-1].route if more else None

    async def test(self, org: str, route: str, *, repeatable: Repeatable[str]) -> str | bytes:
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
        stored = await self.get(org, route)
        name = self.topic.route_name(org, route)
        told = f"{self.topic.noun}s"
        message = Message(
            f"Test of a route of {told}",
            f"{name} works. {told.title()} of LiftOS will arrive here.",
            Severity.INFO,
        )
        error = ""
        try:
            target_url = self._vault.open(stored.target, resource_name=name)
            await self._notifier.send(target_url, message)
        except (TargetUnusableError, NotificationFailedError) as failure:
            error = str(failure)
        try:
            await self._store.record_sending(org, route, error, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response
        return error

    async def _answer(self, org: str, repeatable: Repeatable[Result]) -> bytes | None:
        """Return the answer that a request was given before, so that nothing is sent twice."""
        return await self._store.find_answer(
            org, repeatable.method, repeatable.request_id, repeatable.payload_digest
        )

    def _resealed(self, org: str, stored: StoredRoute) -> SealedTarget:
        name = self.topic.route_name(org, stored.route)
        try:
            target_url = self._vault.open(stored.target, resource_name=name)
            return self._vault.seal(target_url, kind=stored.target.kind, resource_name=name)
        except TargetUnusableError as error:
            raise VerificationFailedError(
                TARGET_URL, measured=error.problem, threshold="one that can be read"
            ) from error

    async def _checked(self, org: str, route: str, target_url: Secret) -> SealedTarget:
        field = self._field(TARGET_URL)
        name = self.topic.route_name(org, route)
        try:
            kind = await self._notifier.check(target_url)
            return self._vault.seal(target_url, kind=kind, resource_name=name)
        except TargetRefusedError as error:
            raise InvalidFieldsError.of(field, error.remedy, rule=error.problem) from None
        except NotificationFailedError:
            raise StoreUnavailableError(_NOTIFIER) from None
        except TargetUnusableError as error:
            raise InvalidFieldsError.of(field, error.problem, rule="credential") from None

    def _check_revision(self, stored: StoredRoute, org: str, revision: int | None) -> None:
        if revision is not None and stored.revision != revision:
            raise EtagMismatchError(self.topic.route_name(org, stored.route))

    def _field(self, name: str) -> str:
        return f"{self.topic.field}.{name}"
