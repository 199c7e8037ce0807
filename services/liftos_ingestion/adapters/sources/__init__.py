"""The sources that are always there."""
