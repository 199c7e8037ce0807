"""The sources that every organisation has."""

from typing import Final

BUILT_IN_SOURCES: Final = {
    "meta": "Meta Ads",
    "google_ads": "Google Ads",
    "klaviyo": "Klaviyo",
    "offline": "Offline media",
    "commerce": "Commerce",
    "dbt": "Tables of dbt_ad_reporting",
}
"""Name of each source for people; their order is the order in which they are listed."""

BUILT_IN_PLATFORMS: Final = frozenset(BUILT_IN_SOURCES) - {"dbt"}
"""Those that entries may carry as their platform; rows of tables name the one that they are of."""
