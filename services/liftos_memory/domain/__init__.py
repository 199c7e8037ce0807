"""The meaning of Memory's data: pure code that knows no store, no wire and no clock."""
