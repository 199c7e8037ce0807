"""Names of time zones."""

import pytest

from liftos_kit.core.time_zones import is_time_zone, time_zone_problem


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "America/Argentina/Salta", "US/Eastern"])
def test_zones_of_the_iana_database(name: str) -> None:
    """Names that platforms use are zones, also those that the database keeps for the past."""
    assert is_time_zone(name)
    assert time_zone_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    ["", "Mars/X", "europe/berlin", " UTC", "Europe", "+01:00", "../Europe/Berlin", "/UTC", "U\0"],
)
def test_other_words_are_no_zones(name: str) -> None:
    """What merely resembles a zone, or leads to a file, is none; the sentence repeats it."""
    assert not is_time_zone(name)
    assert time_zone_problem(name).startswith(f"{name!r} is not the IANA name")
