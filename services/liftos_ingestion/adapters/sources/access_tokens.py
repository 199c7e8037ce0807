"""Access tokens that sessions share: bought with a credential, and used until they end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

from liftos_kit.secrets.secret import Secret

_MARGIN_SECONDS: Final = 60.0
"""So long before its end a token is not used any more: a call takes a while to arrive."""

_Buyer = TypeVar("_Buyer", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Token:
    """What calls carry.

    Attributes:
        value: The token.
        scopes: What it permits; none where the platform does not say.
        end_seconds: When it is no longer used, by `time.monotonic`.
    """

    value: Secret
    scopes: tuple[str, ...]
    end_seconds: float


def token_of(value: str, *, scope: object, expires_in: object) -> Token:
    """Return the token of an OAuth answer.

    Args:
        value: The token.
        scope: Its scopes as answered, with spaces between them.
        expires_in: Its life in seconds as answered; one that does not say is for the call at hand.
    """
    scopes = tuple(scope.split()) if isinstance(scope, str) else ()
    life_seconds = float(expires_in) if isinstance(expires_in, int) else 0.0
    return Token(Secret(value), scopes, time.monotonic() + life_seconds - _MARGIN_SECONDS)


class KnownTokens(Generic[_Buyer]):
    """Remembers the tokens of all sessions, to spare each of them a purchase.

    Only in memory, and never beyond a token's life. One that is no longer taken is replaced. Those
    who have the same credential buy one after the other.
    """

    def __init__(self) -> None:
        self._tokens: dict[_Buyer, Token] = {}
        self._purchases: WeakValueDictionary[_Buyer, asyncio.Lock] = WeakValueDictionary()

    async def get(self, buyer: _Buyer, buy: Callable[[], Awaitable[Token]]) -> Token:
        """Return a token that can be used; where none is known, it is bought.

        Args:
            buyer: What it is bought with.
            buy: Buys one; what it raises is raised.
        """
        known = self._usable(buyer)
        if known is not None:
            return known
        async with self._purchase(buyer):
            return self._usable(buyer) or await self._bought(buyer, buy)

    async def buy(self, buyer: _Buyer, buy: Callable[[], Awaitable[Token]]) -> Token:
        """Buy a token, whatever is known: whether one is given is what has to be found out."""
        async with self._purchase(buyer):
            return await self._bought(buyer, buy)

    def keep(self, buyer: _Buyer, token: Token) -> None:
        """Remember a token; those that have ended are forgotten."""
        now = time.monotonic()
        self._tokens = {it: known for it, known in self._tokens.items() if now < known.end_seconds}
        self._tokens[buyer] = token

    def forget(self, buyer: _Buyer, value: str) -> None:
        """Forget a token that is no longer taken, unless there is another one by now."""
        known = self._tokens.get(buyer)
        if known is not None and known.value == Secret(value):
            del self._tokens[buyer]

    def _purchase(self, buyer: _Buyer) -> asyncio.Lock:
        return self._purchases.setdefault(buyer, asyncio.Lock())

    def _usable(self, buyer: _Buyer) -> Token | None:
        token = self._tokens.get(buyer)
        return token if token is not None and time.monotonic() < token.end_seconds else None

    async def _bought(self, buyer: _Buyer, buy: Callable[[], Awaitable[Token]]) -> Token:
        token = await buy()
        self.keep(buyer, token)
        return token
