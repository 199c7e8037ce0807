"""The meaning of readings from platforms: pure code that knows no store, no wire and no clock."""
