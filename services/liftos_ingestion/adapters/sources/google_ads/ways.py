"""By which customer others are reached: what `login-customer-id` has to name."""

import asyncio
from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from liftos_kit.secrets.secret import Secret

_KNOWN: Final = 100_000


class KnownWays:
    """Remembers by which customer a credential reached others, to spare the search for it.

    Only hints: what is forgotten is looked for again, and a way that no longer leads there is
    refused by Google and replaced.
    """

    def __init__(self) -> None:
        self._ways: OrderedDict[tuple[Secret, str], str] = OrderedDict()
        self._searches: WeakValueDictionary[Secret, asyncio.Lock] = WeakValueDictionary()

    def search(self, credential: Secret) -> asyncio.Lock:
        """Return what lets one of a credential's readings search; the others learn from it."""
        return self._searches.setdefault(credential, asyncio.Lock())

    def get(self, credential: Secret, customer_id: str) -> str | None:
        """Return the customer to log in to, empty for none; None where it is not known."""
        return self._ways.get((credential, customer_id))

    def learn(self, credential: Secret, customer_id: str, way: str) -> None:
        """Remember a way; the one that was learned longest ago is forgotten first."""
        key = (credential, customer_id)
        self._ways[key] = way
        self._ways.move_to_end(key)
        if len(self._ways) > _KNOWN:
            self._ways.popitem(last=False)
