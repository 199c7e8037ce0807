"""`liftos dead-letters`."""

from typing import Annotated

import typer

from liftos.ingestion.v1.run_pb2 import DeadLetter
from liftos_cli.errors import CommandError
from liftos_cli.figures import counted, enum_word_of, short_name
from liftos_cli.ingestion_call import IngestionCall, calls_ingestion
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.message_view import print_fields, time_text
from liftos_cli.options import FilterOption, LimitOption
from liftos_cli.output import Column, print_json, print_table, say
from liftos_client.ingestion.dead_letters import ALL_RUNS

app = command_app(summary="Look at refused rows, and try them again.")

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID...]", help="RUN/DEAD_LETTER, as `list` shows them."),
]
RunOption = Annotated[str, typer.Option(metavar="RUN", help="Only those of this run.")]


@app.command("list", epilog="""Example: liftos dead-letters list --filter 'state = "OPEN"'""")
@calls_ingestion
async def list_dead_letters(
    call: IngestionCall,
    *,
    run: RunOption = ALL_RUNS,
    filter_: FilterOption = "",
    limit: LimitOption = 100,
) -> None:
    """List refused rows, newest first."""
    pages = call.ingestion.list_dead_letters(
        run=run, filter=filter_, page_size=page_size(limit, 1_000)
    )
    found, more = await take(pages, limit)
    print_list(
        "dead_letters",
        found,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("state"),
            Column("platform"),
            Column("account"),
            Column("level"),
            Column("date"),
            Column("why"),
            Column("refused"),
        ],
        row=_row,
    )


@app.command(
    epilog="Example: liftos dead-letters get"
    " 0f1e2d3c4b5a69788796a5b4c3d2e1f0/9f8e7d6c5b4a39281706f5e4d3c2b1a0"
)
@calls_ingestion
async def get(
    call: IngestionCall,
    name: Annotated[str, typer.Argument(metavar="ID", help="RUN/DEAD_LETTER, as `list` shows it.")],
) -> None:
    """Show a refused row with the values that the platform gave, and every rule that it breaks."""
    letter = await call.ingestion.get_dead_letter(name)
    if call.json:
        print_json(letter)
        return
    print_fields(letter, without=("row", "errors"))
    print("\nrow:")
    print_json(letter.row)
    print()
    print_table(
        [Column("field"), Column("rule"), Column("message")],
        [[error.field, error.rule, error.message] for error in letter.errors],
        empty="It says no rule.",
    )


@app.command(
    epilog="""Example: liftos dead-letters replay --filter 'platform = "meta" AND state = "OPEN"'"""
)
@calls_ingestion
async def replay(
    call: IngestionCall,
    names: NamesArgument = None,
    *,
    run: RunOption = ALL_RUNS,
    filter_: FilterOption = "",
) -> None:
    """Try refused rows again in a new run, with the mapping of now."""
    chosen = _selection(names, run, filter_)
    answer = await call.ingestion.replay_dead_letters(names or [], run=run, filter=chosen)
    if call.json:
        print_json(answer)
        return
    started = short_name(answer.run.name)
    print(f"Run {started} tries {counted(answer.dead_letter_count, 'row')}.")
    say(f"Next: `liftos runs watch {started}`.")


@app.command(
    epilog="Example: liftos dead-letters discard --run 0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    """ --filter 'account_id = "1001"' --reason 'a test account'"""
)
@calls_ingestion
async def discard(
    call: IngestionCall,
    names: NamesArgument = None,
    *,
    reason: Annotated[str, typer.Option(help="Kept with each row.")],
    run: RunOption = ALL_RUNS,
    filter_: FilterOption = "",
) -> None:
    """Give refused rows up, with a reason."""
    chosen = _selection(names, run, filter_)
    count = await call.ingestion.discard_dead_letters(
        names or [], reason=reason, run=run, filter=chosen
    )
    if call.json:
        print_json({"discard_count": count})
    else:
        print(f"Gave up {counted(count, 'row')}.")


def _selection(names: list[str] | None, run: str, filter_: str) -> str:
    """Return the filter of what is chosen: of a run alone, all that is open.

    Raises:
        CommandError: Nothing is chosen, or rows are in two ways.
    """
    if names and (filter_ or run != ALL_RUNS):
        raise CommandError(
            "ids of rows go with no other choice",
            advice="leave --run and --filter away, or the ids",
        )
    if not (names or filter_ or run != ALL_RUNS):
        raise CommandError(
            "no rows are chosen",
            advice="give ids (`liftos dead-letters list`), --run RUN for all open ones of a run, or"
            " --filter; all open ones are --filter 'state = \"OPEN\"'",
        )
    return filter_ or ("" if names else 'state = "OPEN"')


def _row(letter: DeadLetter) -> list[str]:
    parts = letter.name.split("/")
    return [
        f"{parts[3]}/{parts[5]}",
        enum_word_of(letter, "state"),
        letter.platform,
        letter.account_id,
        enum_word_of(letter, "level"),
        letter.date,
        "; ".join(f"{error.field} {error.rule}".strip() for error in letter.errors),
        time_text(letter, "create_time"),
    ]
