"""Options that several commands have."""

from typing import Annotated

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
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="DATE", help="First day.", show_default=False)
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="DATE", help="Last day.", show_default=False)
]
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
        help="Only account, campaign, ad_group, ad, flow or message; may be repeated.",
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
