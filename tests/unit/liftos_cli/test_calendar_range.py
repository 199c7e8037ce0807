"""What `liftos calendar` takes as days."""

import pytest

from liftos_cli.commands.calendar import parse_days
from liftos_cli.errors import CommandError


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2026", ("2026-01-01", "2026-12-31")),
        ("2024-02", ("2024-02-01", "2024-02-29")),
        ("2026-12", ("2026-12-01", "2026-12-31")),
        ("2026-11-27", ("2026-11-27", "2026-11-27")),
        ("2026-11-23..2026-11-30", ("2026-11-23", "2026-11-30")),
        ("2025..2026-03", ("2025-01-01", "2026-03-31")),
    ],
)
def test_days_have_four_forms(text: str, days: tuple[str, str]) -> None:
    """A year, a month, a day, and a range of any of them."""
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "26", "2026-13", "2026-02-30", "..2026", "tomorrow"])
def test_other_texts_are_refused(text: str) -> None:
    """The error shows the forms."""
    with pytest.raises(CommandError) as raised:
        parse_days(text)
    assert "2026-11" in raised.value.advice
