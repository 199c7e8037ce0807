"""The sources that are always there, and what builds those of orgs."""

from collections.abc import Mapping

from liftos_ingestion.adapters.sources.own_sources import OwnSources
from liftos_ingestion.adapters.sources.plugins import load_plugins
from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.source_ports import PlatformSource
from liftos_kit.core.clock import Clock


def built_in_sources(
    settings: IngestionSettings, clock: Clock | None = None
) -> Mapping[str, PlatformSource]:
    """Return the connectors and the plug-ins by platform; on the machine's clock by default.

    Each is loaded here and not at the top of the file, since the messages of some platforms take
    most of a second to load.
    """
    from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource  # noqa: PLC0415
    from liftos_ingestion.adapters.sources.klaviyo import KlaviyoSource  # noqa: PLC0415
    from liftos_ingestion.adapters.sources.meta import MetaSource  # noqa: PLC0415

    sources: tuple[PlatformSource, ...] = (
        MetaSource(
            settings.meta_url,
            version=settings.meta_version,
            version_end_date=settings.meta_version_end_date,
            timeout_seconds=settings.platform_timeout_seconds,
            clock=clock,
        ),
        GoogleAdsSource(
            settings.google_ads_address,
            plaintext=settings.google_ads_plaintext,
            token_url=settings.google_ads_token_url,
            version_end_date=settings.google_ads_version_end_date,
            timeout_seconds=settings.platform_timeout_seconds,
        ),
        KlaviyoSource(
            settings.klaviyo_url,
            revision=settings.klaviyo_revision,
            revision_end_date=settings.klaviyo_revision_end_date,
            timeout_seconds=settings.platform_timeout_seconds,
        ),
    )
    built_in = {source.platform: source for source in sources}
    return {**built_in, **load_plugins(built_in)}


def own_sources(settings: IngestionSettings) -> OwnSources:
    """Return what builds the sources that orgs define."""
    return OwnSources(
        settings.source_files_directory,
        private_allowed=settings.allow_private_addresses,
        timeout_seconds=settings.platform_timeout_seconds,
    )
