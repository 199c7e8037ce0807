"""The sources that are always there."""

from collections.abc import Mapping

from liftos_ingestion.catalog_ports import NewSource
from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.source_ports import PlatformSource
from liftos_kit.core.errors import NotBuiltError


def built_in_sources(settings: IngestionSettings) -> Mapping[str, PlatformSource]:
    """Return the connectors by platform.

    Each is loaded here and not at the top of the file, since the messages of some platforms take
    most of a second to load.
    """
    from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource  # noqa: PLC0415
    from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource  # noqa: PLC0415
    from liftos_ingestion.adapters.sources.meta import MetaSource  # noqa: PLC0415

    sources: tuple[PlatformSource, ...] = (
        MetaSource(
            settings.meta_url,
            settings.meta_version,
            settings.meta_version_end_date,
            settings.platform_timeout_seconds,
        ),
        GoogleAdsSource(
            settings.google_ads_address,
            settings.google_ads_plaintext,
            settings.google_ads_token_url,
            settings.google_ads_version_end_date,
            settings.platform_timeout_seconds,
        ),
        KlaviyoSource(
            settings.klaviyo_url,
            settings.klaviyo_revision,
            settings.klaviyo_revision_end_date,
            settings.platform_timeout_seconds,
        ),
    )
    return {source.platform: source for source in sources}


def build_source(spec: NewSource) -> PlatformSource:
    """Return the source that an org's own definition stands for.

    Raises:
        NotBuiltError: Sources of an org's own come with a later version.
    """
    raise NotBuiltError(f"A source of an org's own, such as {spec.source},")
