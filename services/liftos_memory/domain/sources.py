"""The sources that every organisation has."""

from typing import Final

BUILT_IN_SOURCES: Final = {
    "meta": "Meta Ads",
    "google_ads": "Google Ads",
    "klaviyo": "Klaviyo",
    "offline": "Offline media",
    "commerce": "Commerce",
}
"""Name of each source for people; their order is the order in which they are listed."""
