"""Pure building blocks on the standard library alone: errors, names, filters, paging, money."""
