"""What the date of a row stands for, unless the row says otherwise."""

from typing import Final

from liftos_mapping.entry_fields import DATE_BASES, LEVELS

DEFAULT_DATE_BASIS: Final = {
    "ACCOUNT": "INTERACTION",
    "CAMPAIGN": "INTERACTION",
    "AD_GROUP": "INTERACTION",
    "AD": "INTERACTION",
    "FLOW": "SEND",
    "MESSAGE": "SEND",
    "OUTCOME": "EVENT",
    "CONTROL": "EVENT",
}
"""Ad platforms date a conversion by the click or view that led to it, reports on sent messages by
the sending, and orders and outside series happen on their day. Platforms that only send (see
`SENDING_PLATFORMS`) date their accounts and campaigns by the sending too.
"""

SENDING_PLATFORMS: Final = ("klaviyo",)

SENDING_LEVELS: Final = ("ACCOUNT", "CAMPAIGN")
"""Levels at which a platform that only sends differs from the others."""


def default_date_basis(platform: str, level: int) -> int:
    """Return the number of the date basis that rows of a level have unless they say otherwise.

    Args:
        platform: A source.
        level: Number of a level in the contract.
    """
    word = LEVELS[level - 1]
    sends = platform in SENDING_PLATFORMS and word in SENDING_LEVELS
    return DATE_BASES.index("SEND" if sends else DEFAULT_DATE_BASIS[word]) + 1
