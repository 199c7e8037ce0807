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


def day_of(text: str | None) -> str | None:
    """Return a day as the contract has it: `today` and `yesterday` are those of this machine."""
    days_ago = {"today": 0, "yesterday": 1}.get(text or "")
    if days_ago is None:
        return text
    return (datetime.now().astimezone().date() - timedelta(days=days_ago)).isoformat()


def _day_option(name: str, help_: str) -> Any:  # noqa: ANN401  # as typer's own
    return typer.Option(
        name, metavar="DATE", help=f"{help_}; yesterday and today are taken too.", callback=day_of
    )


FromOption = Annotated[str | None, _day_option("--from", "First day")]
ToOption = Annotated[str | None, _day_option("--to", "Last day")]
FirstDayOption = Annotated[str, _day_option("--from", "First day")]
LastDayOption = Annotated[str, _day_option("--to", "Last day")]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, metavar="N", help="Show at most so many.")
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
