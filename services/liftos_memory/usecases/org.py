"""Settings and sources of an org."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from liftos_kit.core.errors import (
    AlreadyExistsError,
    EtagMismatchError,
    FieldViolation,
    InvalidFieldsError,
)
from liftos_kit.core.paging import JsonValue
from liftos_mapping.language import compile_mapping
from liftos_memory.domain.calendar import check_region_codes
from liftos_memory.domain.currencies import CURRENCY_CODES
from liftos_memory.domain.sources import BUILT_IN_SOURCES
from liftos_memory.org_ports import OrgSettings, OrgStore, SettingsChange, StoredSource
from liftos_memory.usecases.calendar import OrgCalendars

_BUILT_IN: Final = tuple(BUILT_IN_SOURCES)


@dataclass(frozen=True, slots=True)
class SourcePage:
    """A page of sources, and where the next one begins; None at the end.

    Attributes:
        built_in: Ids of built-in sources; they come before all others.
        own: Sources of the org's own.
        cursor: For the next page.
    """

    built_in: Sequence[str]
    own: Sequence[StoredSource]
    cursor: JsonValue


class OrgAdministration:
    """Reads and changes what an org chooses for itself."""

    def __init__(self, store: OrgStore, calendars: OrgCalendars) -> None:
        self._store = store
        self._calendars = calendars

    async def settings(self, org: str) -> OrgSettings:
        """Return the settings, defaults where none were stored."""
        return await self._store.settings(org)

    async def update_settings(self, org: str, change: SettingsChange) -> OrgSettings:
        """Change settings.

        Raises:
            EtagMismatchError: They were changed since the writer read them.
            InvalidFieldsError: A region or the currency does not exist.
            StateTransitionError: The base currency changes and there are exchange rates.
        """
        _check_change(change)

        def changed(before: OrgSettings) -> OrgSettings:
            if change.revision is not None and change.revision != before.revision:
                raise EtagMismatchError(f"orgs/{org}/settings")
            return replace(before, **{name: getattr(change.values, name) for name in change.fields})

        settings = await self._store.change_settings(org, changed)
        self._calendars.drop(org)
        return settings

    async def upsert_source(
        self, org: str, source: str, display_name: str, mapping: Mapping[str, object] | None
    ) -> StoredSource:
        """Register a source of the org's own, or change it.

        Raises:
            AlreadyExistsError: The id is that of a built-in source.
            InvalidFieldsError: The mapping breaks rules; lists every one.
        """
        if source in BUILT_IN_SOURCES:
            raise AlreadyExistsError(f"orgs/{org}/sources/{source}")
        if mapping is not None:
            _check_mapping(source, mapping)
        return await self._store.upsert_source(org, source, display_name, mapping)

    async def list_sources(self, org: str, *, cursor: JsonValue, limit: int) -> SourcePage:
        """Return a page of sources; `cursor` is that of the page before."""
        skipped, after = 0, ""
        match cursor:
            case int():
                skipped = cursor
            case str():
                skipped, after = len(_BUILT_IN), cursor
        built_in = _BUILT_IN[skipped : skipped + limit]
        room = limit - len(built_in)
        own = await self._store.list_sources(org, after=after, limit=room + 1)
        ended = len(own) <= room and skipped + len(built_in) == len(_BUILT_IN)
        own = own[:room]
        following = own[-1].source if own else skipped + len(built_in)
        return SourcePage(built_in, own, None if ended else following)


def _check_mapping(source: str, mapping: Mapping[str, object]) -> None:
    try:
        compile_mapping(source, mapping)
    except InvalidFieldsError as error:
        raise InvalidFieldsError(
            FieldViolation(f"source.{it.field}", it.description, it.rule) for it in error.violations
        ) from error


def _check_change(change: SettingsChange) -> None:
    violations = []
    if "region_codes" in change.fields:
        for index, code in enumerate(change.values.region_codes):
            try:
                check_region_codes([code])
            except InvalidFieldsError as error:
                violations += [
                    FieldViolation(f"org_settings.region_codes[{index}]", it.description, it.rule)
                    for it in error.violations
                ]
    code = change.values.base_currency_code
    if "base_currency_code" in change.fields and code not in CURRENCY_CODES:
        violations.append(
            FieldViolation(
                "org_settings.base_currency_code",
                f"{code} is no currency of ISO 4217; write it as USD or EUR",
                "currency",
            )
        )
    if violations:
        raise InvalidFieldsError(violations)
