"""Klaviyo's API, revision 2026-10-15, over the simulated truth."""
