"""The chassis of every LiftOS service; it knows none of them."""
