"""Sources: built-in ones and those that an org defines as data."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from liftos_ingestion.catalog_ports import (
    OWN_KINDS,
    BuildSource,
    CheckSource,
    EntryChecks,
    NewSource,
    SourceKind,
    SourceStore,
    StoredSource,
)
from liftos_ingestion.source_ports import JsonObject, PlatformSource
from liftos_kit.core.errors import (
    AlreadyExistsError,
    EtagMismatchError,
    FieldViolation,
    InvalidFieldsError,
    NotFoundError,
    StateTransitionError,
)
from liftos_kit.core.filters import Filter, evaluate
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


@dataclass(frozen=True, slots=True)
class DescribedSource:
    """A source as people see it.

    Attributes:
        source: Its id.
        display_name: Its name.
        kind: How it is read.
        working: What reads it; None where its stored definition cannot be used any more.
        definition, mapping: As the org gave them; None for built-in ones.
        revision: Its etag; 0 for built-in ones.
        create_time, update_time: None for built-in ones.
    """

    source: str
    display_name: str
    kind: SourceKind
    working: PlatformSource | None
    definition: JsonObject | None = None
    mapping: JsonObject | None = None
    revision: int = 0
    create_time: datetime | None = None
    update_time: datetime | None = None


class Catalog:
    """Finds sources.

    Args:
        built_in: Those that are always there, by platform.
        plugins: Which of them are plug-ins.
        store: Those of orgs' own.
        build: Makes the source of a stored definition.
    """

    def __init__(
        self,
        built_in: Mapping[str, PlatformSource],
        *,
        plugins: Collection[str] = (),
        store: SourceStore,
        build: BuildSource,
    ) -> None:
        self.built_in: Final = built_in
        self.build: Final = build
        self._plugins = frozenset(plugins)
        self._store = store

    async def source(self, org: str, platform: str) -> PlatformSource:
        """Return what reads a platform.

        Raises:
            NotFoundError: It is not registered.
            InvalidFieldsError: Its stored definition cannot be used any more.
        """
        found = self.built_in.get(platform)
        return self.build(await self.own(org, platform)) if found is None else found

    async def own(self, org: str, platform: str) -> NewSource:
        """Return what the org defined.

        Raises:
            NotFoundError: It is not registered.
        """
        stored = await self._store.find(org, platform)
        if stored is None:
            raise NotFoundError(f"orgs/{org}/sources/{platform}")
        return stored.spec

    async def describe(self, org: str, source: str) -> DescribedSource:
        """Return a source as people see it.

        Raises:
            NotFoundError: It is not registered.
        """
        if source in self.built_in:
            return self.described_built_in(source)
        stored = await self._store.find(org, source)
        if stored is None:
            raise NotFoundError(f"orgs/{org}/sources/{source}")
        return self.described_own(stored)

    async def require(self, org: str, platforms: Iterable[str]) -> None:
        """Return if all platforms are registered.

        Raises:
            NotFoundError: One is not.
        """
        for platform in platforms:
            if platform not in self.built_in:
                await self.own(org, platform)

    def described_built_in(self, source: str) -> DescribedSource:
        """Return a built-in source as people see it."""
        working = self.built_in[source]
        kind = SourceKind.PLUGIN if source in self._plugins else SourceKind.PLATFORM
        return DescribedSource(source, working.display_name, kind, working)

    def described_own(self, stored: StoredSource) -> DescribedSource:
        """Return a source of an org's own as people see it."""
        spec = stored.spec
        try:
            working = self.build(spec)
        except InvalidFieldsError as error:
            # Rules can become stricter; what breaks them must still be seen, to be mended.
            _log.warning("source_unusable", source=spec.source, problem=error.message)
            working = None
        return DescribedSource(
            source=spec.source,
            display_name=spec.display_name,
            kind=spec.kind,
            working=working,
            definition=spec.definition,
            mapping=spec.mapping,
            revision=stored.revision,
            create_time=stored.create_time,
            update_time=stored.update_time,
        )


class SourceAdministration:
    """Registers, shows and removes sources.

    Args:
        catalog: Finds them.
        store: Those of orgs' own.
        check: Says what is wrong with a definition and a mapping.
        memory: Lets entries carry them, and gets their mappings.
    """

    def __init__(
        self, catalog: Catalog, store: SourceStore, *, check: CheckSource, memory: EntryChecks
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._check = check
        self._memory = memory

    async def upsert(
        self,
        org: str,
        spec: NewSource,
        *,
        revision: int | None,
        repeatable: Repeatable[DescribedSource] | None,
    ) -> DescribedSource | bytes:
        """Register a source of the org's own, or change it.

        Args:
            org: The org.
            spec: The source.
            revision: The one that was read; None takes the newest.
            repeatable: Set where the request carries a request_id.

        Returns:
            The source, or the answer that the same request was given before.

        Raises:
            AlreadyExistsError: The id is that of a built-in one.
            InvalidFieldsError: The definition or the mapping breaks rules; lists every one.
            EtagMismatchError: It was changed since it was read.
            FenceClosedError, StoreUnavailableError: Memory takes no source now.
        """
        name = f"orgs/{org}/sources/{spec.source}"
        if spec.source in self._catalog.built_in:
            raise AlreadyExistsError(name)
        self._check_spec(spec)
        try:
            async with self._store.write(org) as write:
                if repeatable is not None:
                    await repeatable.recall(write)
                before = await write.lock(spec.source)
                if revision is not None and (before is None or before.revision != revision):
                    raise EtagMismatchError(name)
                if before is not None and before.spec.kind is not spec.kind:
                    raise InvalidFieldsError.of(
                        "source.kind",
                        f"cannot be changed; it is {before.spec.kind.name}",
                        rule="immutable",
                    )
                described = self._catalog.described_own(await write.upsert(spec))
                # Before others see it, since its first entries must find it there, and behind
                # the lock of its row, so that the last mapping here is the last one there.
                await self._memory.register(org, spec)
                if repeatable is not None:
                    await repeatable.remember(write, described)
        except AnsweredBeforeError as answered:
            return answered.response
        return described

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[DescribedSource], JsonValue]:
        """Return a page, built-in ones first, and where the next one begins; None at the end.

        Args:
            org: The org.
            where: Which of them; a filter over `kind`, `display_name` and `built_in`.
            cursor: That of the page before.
            limit: How many at most.
        """
        # A number counts built-in ones, all others are of the org's own.
        skipped = cursor if isinstance(cursor, int) else 0
        built_in = self._built_in(where)[skipped:] if skipped or cursor is None else []
        page = built_in[:limit]
        if len(built_in) > limit:
            return page, skipped + limit
        if len(page) == limit:
            own, _ = await self._store.list_page(org, where=where, cursor=None, limit=1)
            return page, skipped + limit if own else None
        own, next_cursor = await self._store.list_page(
            org,
            where=where,
            cursor=None if isinstance(cursor, int) else cursor,
            limit=limit - len(page),
        )
        return [*page, *map(self._catalog.described_own, own)], next_cursor

    async def delete(
        self, org: str, source: str, *, revision: int | None, repeatable: Repeatable[None]
    ) -> bytes | None:
        """Remove a source of the org's own that no connection uses.

        Returns:
            The answer that the same request was given before, or None.

        Raises:
            NotFoundError: The org has no such source.
            EtagMismatchError: It was changed since it was read.
            StateTransitionError: It is built in, or a connection uses it.
        """
        name = f"orgs/{org}/sources/{source}"
        if source in self._catalog.built_in:
            raise StateTransitionError(name, state="built in", allowed_states=["the org's own"])
        try:
            async with self._store.write(org) as write:
                await repeatable.recall(write)
                before = await write.lock(source)
                if before is None:
                    raise NotFoundError(name)
                if revision is not None and before.revision != revision:
                    raise EtagMismatchError(name)
                user = await write.user_of(source)
                if user is not None:
                    raise StateTransitionError(
                        name, state=f"used by the connection {user}", allowed_states=["unused"]
                    )
                await write.delete(source)
                await repeatable.remember(write, None)
        except AnsweredBeforeError as answered:
            return answered.response
        return None

    def _check_spec(self, spec: NewSource) -> None:
        if spec.kind not in OWN_KINDS:
            allowed = " or ".join(kind.name for kind in OWN_KINDS)
            raise InvalidFieldsError.of(
                "source.kind", f"must be {allowed}; others are built in", rule="kind"
            )
        violations = [
            FieldViolation(f"source.{it.field}", it.description, it.rule)
            for it in self._check(spec.kind, spec.definition, spec.mapping)
        ]
        if violations:
            raise InvalidFieldsError(violations)

    def _built_in(self, where: Filter | None) -> Sequence[DescribedSource]:
        described = map(self._catalog.described_built_in, sorted(self._catalog.built_in))
        return [
            it
            for it in described
            if evaluate(
                where, {"kind": it.kind.name, "display_name": it.display_name, "built_in": True}
            )
        ]
