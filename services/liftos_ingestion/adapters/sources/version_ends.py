"""When versions of the platforms' interfaces end, as far as it is known.

From Meta's "Marketing API version history" and from Google's schedule of releases of 4 September
2025, both as of November 2026. Where a platform has named no day yet, it is a year after the
release: neither has ended a version of late before that.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

META_VERSION_ENDS: Final[Mapping[str, date]] = {
    "v23.0": date(2026, 6, 9),
    "v24.0": date(2026, 11, 10),
    "v25.0": date(2027, 2, 23),
    # Not named yet; released on 29 July and on 4 November 2026.
    "v26.0": date(2027, 7, 29),
    "v27.0": date(2027, 11, 4),
}
"""First days on which a version of Meta's Marketing API may be gone. The Graph API's own versions
live longer."""

GOOGLE_ADS_VERSION_ENDS: Final[Mapping[str, date]] = {
    # Only the month is told.
    "v23": date(2027, 2, 1),
    "v24": date(2027, 5, 1),
    "v25": date(2027, 8, 1),
    # November 2027 is planned; it was released on 14 October 2026.
    "v26": date(2027, 10, 14),
}
"""First days on which a version of the Google Ads API may be gone."""
