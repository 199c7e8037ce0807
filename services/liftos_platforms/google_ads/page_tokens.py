"""Opaque page tokens, which say which page of which moment's answer comes next."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from liftos_kit.core.errors import PageTokenError
from liftos_kit.core.paging import PageTokens
from liftos_platforms.google_ads.failures import refused
from liftos_platforms.google_ads.troubles import page_token_expired

PAGE_TOKEN_LIFETIME: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer goes on.

    Attributes:
        page: Which page, from 0.
        as_of: The moment that all pages of the answer tell about.
    """

    page: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class SearchTokens:
    """Writes and reads page tokens, which serve one customer and one query for an hour.

    Attributes:
        key: Secret of their signature, 16 bytes.
    """

    key: bytes = field(repr=False)

    def token(self, place: Place, *, customer_id: str, query: str, now: datetime) -> str:
        """Return the token for a place."""
        return PageTokens(self.key).encode(
            [place.page, place.as_of.isoformat(), now.isoformat()],
            org=customer_id,
            request_digest=sha256(query.encode()).digest(),
        )

    def place(self, token: str, *, customer_id: str, query: str, now: datetime) -> Place:
        """Return the place of a token; of the empty one, the beginning.

        Raises:
            RefusedError: The token is too old, damaged or of another request.
        """
        try:
            cursor = PageTokens(self.key).decode(
                token, org=customer_id, request_digest=sha256(query.encode()).digest()
            )
        except PageTokenError:
            raise refused("request_error", "INVALID_PAGE_TOKEN", "Page token is invalid.") from None
        if cursor is None:
            return Place(0, now)
        assert isinstance(cursor, list)
        page, as_of, issued = cursor
        if now >= datetime.fromisoformat(issued) + PAGE_TOKEN_LIFETIME:
            raise page_token_expired()
        return Place(page, datetime.fromisoformat(as_of))
