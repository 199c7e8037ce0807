"""The platforms' mappings; a new platform is a new module and a line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from liftos_mapping.errors import UnknownPlatformError
from liftos_mapping.mapping import PlatformMapping
from liftos_mapping.platforms import dbt, google_ads, klaviyo, meta

PLATFORM_MAPPINGS: Final[Mapping[str, PlatformMapping]] = MappingProxyType(
    {
        "dbt": dbt.MAPPING,
        "google_ads": google_ads.MAPPING,
        "klaviyo": klaviyo.MAPPING,
        "meta": meta.MAPPING,
    }
)
"""Every platform whose raw rows can be read."""


def platform_mapping(platform: str) -> PlatformMapping:
    """The mapping of a platform.

    Raises:
        UnknownPlatformError: Raw rows of this platform cannot be read.
    """
    mapping = PLATFORM_MAPPINGS.get(platform)
    if mapping is None:
        raise UnknownPlatformError(platform, tuple(PLATFORM_MAPPINGS))
    return mapping
