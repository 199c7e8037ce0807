"""When versions end: known without being told, and otherwise as the operator says."""

from datetime import date

import pytest

from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource
from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.adapters.sources.registry import built_in_sources
from liftos_ingestion.settings import IngestionSettings


def test_every_built_in_source_knows_the_end_of_its_version() -> None:
    """So the alert about it opens with nothing set."""
    settings = IngestionSettings.model_construct()
    sources = built_in_sources(settings)
    for platform in ("meta", "google_ads", "klaviyo"):
        end = sources[platform].capabilities.api_version_end_date
        assert end is not None
        assert end > date(2026, 11, 30)


@pytest.mark.parametrize(
    ("version", "told", "end"),
    [
        ("v25.0", None, date(2027, 2, 23)),
        ("v25.0", date(2027, 3, 1), date(2027, 3, 1)),
        ("v99.0", None, None),
        ("v99.0", date(2035, 1, 1), date(2035, 1, 1)),
    ],
)
def test_metas_versions(version: str, told: date | None, end: date | None) -> None:
    """Unless its operator knows better; of one that is not known nothing is made up."""
    source = MetaSource("http://m.test", version=version, version_end_date=told, timeout_seconds=1)
    assert source.capabilities.api_version_end_date == end


@pytest.mark.parametrize(
    ("told", "end"), [(None, date(2027, 10, 14)), (date(2027, 11, 3), date(2027, 11, 3))]
)
def test_googles_version(told: date | None, end: date) -> None:
    """Unless its operator knows better."""
    source = GoogleAdsSource(
        "ads.test:443",
        plaintext=True,
        token_url="http://token.test/token",
        version_end_date=told,
        timeout_seconds=1,
    )
    assert source.capabilities.api_version_end_date == end
