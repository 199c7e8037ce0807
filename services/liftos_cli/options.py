"""Options that several commands have."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
FilterOption = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="EXPRESSION",
        help="Such as 'platform = \"meta\"'; errors name the fields that there are.",
    ),
]
RecordFilterOption = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="EXPRESSION",
        help="Such as 'scope = \"planning\"'; errors name the fields that there are.",
    ),
]


def day_of(text: str | None) -> str | None:
    """Return a day as the contract has it: `today` and `yesterday` are those of this machine."""
    days_ago = {"today": 0, "yesterday": 1}.get(text or "")
    if days_ago is None:
        return text
    return (datetime.now().astimezone().date() - timedelta(days=days_ago)).isoformat()


def _day_option(name: str, help_: str) -> Any:  # noqa: ANN401  # as typer's own
    return typer.Option(
        name, metavar="DATE", help=f"{help_}: 2026-01-31, yesterday or today.", callback=day_of
    )


FromOption = Annotated[str | None, _day_option("--from", "First day")]
BaselineFromOption = Annotated[
    str | None,
    _day_option("--baseline-from", "First day to hold against; without it, as many days before"),
]
BaselineToOption = Annotated[str | None, _day_option("--baseline-to", "Last day to hold against")]
ToOption = Annotated[str | None, _day_option("--to", "Last day")]
FirstDayOption = Annotated[str, _day_option("--from", "First day")]
LastDayOption = Annotated[str, _day_option("--to", "Last day")]
LevelOption = Annotated[
    str,
    typer.Option(
        "--level",
        metavar="LEVEL",
        help="account, campaign, ad_group, ad, flow, message, outcome or control.",
    ),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="METRIC", help="Such as spend or roas; may be repeated."),
]
CurrencyOption = Annotated[
    str,
    typer.Option(
        "--currency", metavar="CODE", help="Convert all money; else currencies are apart."
    ),
]
MinimumQualityOption = Annotated[
    float | None,
    typer.Option(
        "--minimum-quality",
        min=0,
        max=1,
        help="Only entries that score so much.",
        show_default=False,
    ),
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, metavar="N", help="Show at most so many.")
]
ResumeOption = Annotated[
    str,
    typer.Option(
        "--resume",
        metavar="TOKEN",
        help="Go on after this resume_token; 'begin' is the oldest kept.",
    ),
]
MaximumChangesOption = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, metavar="N", help="End after so many changes.", show_default=False
    ),
]
AccountsOption = Annotated[
    list[str] | None,
    typer.Option("--account", metavar="ID", help="Only this account; may be repeated."),
]
LevelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--level",
        metavar="LEVEL",
        help="Only this level, such as campaign; may be repeated; `liftos sources list` shows"
        " those of each platform.",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAMES",
        help="Which columns, with commas between, such as date,object,breakdown,spend; errors name"
        " all that there are.",
        show_default=False,
    ),
]
