"""Lists that are fetched page by page, while they are read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Generic, Protocol, TypeVar

_Item = TypeVar("_Item")


class Page(Protocol):
    """An answer that holds a part of a list."""

    @property
    def next_page_token(self) -> str:
        """Gives the next page; empty at the end."""
        ...


_Page = TypeVar("_Page", bound=Page)


class Pages(Generic[_Item, _Page]):
    """A list on the server: `async for item in pages`, or page by page with `pages.pages()`.

    Nothing is fetched before the first item is asked for, and no page before it is needed. Each
    iteration starts from the beginning.

    Attributes:
        items: Gives the items of a page.

    Args:
        fetch: Gets the page of a token.
        items: The items of a page.
        page_token: Where to begin; empty is the first page.
    """

    def __init__(
        self,
        fetch: Callable[[str], Awaitable[_Page]],
        items: Callable[[_Page], Iterable[_Item]],
        page_token: str = "",
    ) -> None:
        self._fetch = fetch
        self.items = items
        self._page_token = page_token

    async def __aiter__(self) -> AsyncIterator[_Item]:
        async for page in self.pages():
            for item in self.items(page):
                yield item

    async def pages(self) -> AsyncIterator[_Page]:
        """Read the answers themselves, each with its `next_page_token`."""
        token = self._page_token
        while True:
            page = await self._fetch(token)
            yield page
            token = page.next_page_token
            if not token:
                return

    async def collect(self) -> list[_Item]:
        """Read the whole list."""
        return [item async for item in self]
