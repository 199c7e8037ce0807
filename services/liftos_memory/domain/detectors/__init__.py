"""Detectors: what stands out in regular series. Pure, over many series at once.

Each takes timestamps, a matrix of values (series by steps, nan where unknown) and the number of
steps after which the season repeats, and knows nothing of marketing. docs/insights.md has the
formulas and where they come from.
"""
