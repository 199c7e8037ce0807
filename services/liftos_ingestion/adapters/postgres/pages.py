"""Pages of lists, as the kit reads them."""

from liftos_kit.postgres_pages import PAGE_BYTES, Listing, Order, Row, read_page, word_of

__all__ = ["PAGE_BYTES", "Listing", "Order", "Row", "read_page", "word_of"]
