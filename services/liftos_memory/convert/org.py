"""Settings and sources of an org, both ways."""

from typing import Final

from liftos.memory.v1 import source_pb2
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.names import Pattern
from liftos_kit.structs import struct_of, timestamp
from liftos_mapping.platforms import PLATFORM_MAPPINGS
from liftos_memory.convert.masks import check_mask
from liftos_memory.domain.calendar import Hemisphere
from liftos_memory.domain.sources import BUILT_IN_SOURCES
from liftos_memory.org_ports import OrgSettings, SettingsChange, StoredSource

SOURCE_NAME: Final = Pattern("orgs/{org}/sources/{source}")

_HEMISPHERES: Final = {hemisphere: number for number, hemisphere in enumerate(Hemisphere, 1)}
_CHANGEABLE: Final = ("fiscal_start_month", "hemisphere", "base_currency_code", "region_codes")


def settings_message(org: str, settings: OrgSettings) -> source_pb2.OrgSettings:
    """Return the message of settings."""
    return source_pb2.OrgSettings(
        name=f"orgs/{org}/settings",
        fiscal_start_month=settings.fiscal_start_month,
        hemisphere=source_pb2.Hemisphere.ValueType(_HEMISPHERES[settings.hemisphere]),
        base_currency_code=settings.base_currency_code,
        region_codes=settings.region_codes,
        etag=f"{settings.revision:x}",
        update_time=timestamp(settings.update_time),
    )


def settings_change(message: source_pb2.OrgSettings, mask_paths: tuple[str, ...]) -> SettingsChange:
    """Return the change that an update asks for; settings that it leaves unset become defaults.

    Raises:
        InvalidFieldsError: The mask names what cannot be changed, or the etag is none of ours.
    """
    check_mask(source_pb2.OrgSettings.DESCRIPTOR, mask_paths, field="update_mask")
    fixed = [path for path in mask_paths if path not in _CHANGEABLE]
    if fixed:
        raise InvalidFieldsError(
            FieldViolation(
                "update_mask", f"{path} cannot be changed; name {', '.join(_CHANGEABLE)}", "mask"
            )
            for path in fixed
        )
    defaults = OrgSettings()
    southern = message.hemisphere == source_pb2.HEMISPHERE_SOUTHERN
    return SettingsChange(
        fields=frozenset(mask_paths or _CHANGEABLE),
        values=OrgSettings(
            fiscal_start_month=message.fiscal_start_month or defaults.fiscal_start_month,
            hemisphere=Hemisphere.SOUTHERN if southern else Hemisphere.NORTHERN,
            base_currency_code=message.base_currency_code or defaults.base_currency_code,
            region_codes=tuple(message.region_codes) or defaults.region_codes,
        ),
        revision=_revision(message.etag),
    )


def _revision(etag: str) -> int | None:
    if not etag:
        return None
    try:
        return int(etag, 16)
    except ValueError:
        raise InvalidFieldsError.of(
            "org_settings.etag", "is none that was given with settings", rule="etag"
        ) from None


def built_in_source_message(org: str, source: str) -> source_pb2.Source:
    """Return the message of a built-in source."""
    return source_pb2.Source(
        name=f"orgs/{org}/sources/{source}",
        display_name=BUILT_IN_SOURCES[source],
        built_in=True,
        takes_raw_rows=source in PLATFORM_MAPPINGS,
    )


def source_message(org: str, stored: StoredSource) -> source_pb2.Source:
    """Return the message of a source of the org's own."""
    return source_pb2.Source(
        name=f"orgs/{org}/sources/{stored.source}",
        display_name=stored.display_name,
        mapping=None if stored.mapping is None else struct_of(stored.mapping),
        takes_raw_rows=stored.mapping is not None,
        create_time=timestamp(stored.create_time),
        update_time=timestamp(stored.update_time),
    )
