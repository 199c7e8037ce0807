"""The weekly file: what is in it, how it is rounded, and what is refused."""

import hashlib
from datetime import date, timedelta
from decimal import Decimal
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_cli.demo.weekly_file import (
    WeeklyFileError,
    parse_weekly_file,
    read_weekly_file,
    residual,
    round_half_even,
)

DATA = resources.files("liftos_cli.demo").joinpath("data")
SHA256 = "d541cfa92ca68fbda03ce6c987733e996b3abf44a95f2a32ce6836b9f8258cf1"
HEADER = (
    "DATE,revenue,tv_S,ooh_S,print_S,facebook_I,search_clicks_P,search_S,competitor_sales_B,"
    "facebook_S,events,newsletter"
)
FIRST = "2015-11-23,1.5,0,0,0,0,0,0,0,0,na,2"


def test_the_copy_is_the_published_file_with_its_licence_beside_it() -> None:
    """The packaged file is unchanged, and its licence and source are packaged with it."""
    content = DATA.joinpath("dt_simulated_weekly.csv").read_bytes()

    assert hashlib.sha256(content).hexdigest() == SHA256
    assert "MIT License" in DATA.joinpath("LICENSE.txt").read_text(encoding="utf-8")
    assert SHA256 in DATA.joinpath("README.md").read_text(encoding="utf-8")


def test_the_file_has_208_weeks_of_mondays() -> None:
    """Weeks begin on Mondays from 2015-11-23 on, and numbers are as written."""
    file = read_weekly_file()

    assert file.weeks == tuple(date(2015, 11, 23) + timedelta(weeks=each) for each in range(208))
    assert all(len(values) == 208 for values in file.columns.values())
    assert file.columns["revenue"][0] == Decimal("2754371.66666667")
    assert file.columns["facebook_I"][-1] == Decimal("42660373.2550797")


def test_events_are_flags() -> None:
    """The two weeks with an event are 1, all others 0."""
    file = read_weekly_file()

    flagged = [week for week, flag in zip(file.weeks, file.columns["events"], strict=True) if flag]
    assert flagged == [date(2018, 5, 21), date(2019, 4, 22)]
    assert set(file.columns["events"]) == {Decimal(0), Decimal(1)}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "columns"),
        (HEADER.replace("revenue", "sales"), 1, "columns"),
        (HEADER, 2, "no weeks"),
        (f"{HEADER}\n{FIRST},3", 2, "values"),
        (f"{HEADER}\n{FIRST.replace('2015-11-23', '2015-11-24')}", 2, "no Monday"),
        (f"{HEADER}\n{FIRST.replace('2015-11-23', '20151123')}", 2, "no date"),
        (f"{HEADER}\n{FIRST.replace('2015-11-23', '2015-13-23')}", 2, "no date"),
        (f"{HEADER}\n{FIRST}\n{FIRST}", 3, "follows"),
        (f"{HEADER}\n{FIRST}\n{FIRST.replace('2015-11-23', '2015-12-07')}", 3, "follows"),
        (f"{HEADER}\n{FIRST.replace('1.5', 'NaN')}", 2, "revenue"),
        (f"{HEADER}\n{FIRST.replace('1.5', '-1')}", 2, "revenue"),
        (f"{HEADER}\n{FIRST.replace('1.5', '')}", 2, "revenue"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    """Wrong columns, dates and numbers are errors that say where and what."""
    with pytest.raises(WeeklyFileError, match=reason) as caught:
        parse_weekly_file(text)
    assert caught.value.line == line


def test_halves_go_to_the_even_number() -> None:
    """0.5 and 2.5 go down, 1.5 goes up; money is rounded at the sixth place."""
    halves = [Decimal("0.5"), Decimal("1.5"), Decimal("2.5")]

    assert round_half_even(halves, scale=1) == (0, 2, 2)
    assert round_half_even([Decimal("2754371.66666667")], scale=1_000_000) == (2754371666667,)


@given(
    st.lists(st.decimals(0, 10**9, places=8), min_size=1, max_size=50),
    st.sampled_from([1, 1_000_000]),
)
def test_the_residual_is_exactly_what_rounding_took(values: list[Decimal], scale: int) -> None:
    """Rounded values and the residual give the sum of the file back, and no week loses a half."""
    rounded = round_half_even(values, scale=scale)
    rest = residual(values, rounded, scale=scale)

    assert Decimal(sum(rounded)) / scale + rest.total == sum(values)
    assert rest.largest <= Decimal("0.5") / scale
