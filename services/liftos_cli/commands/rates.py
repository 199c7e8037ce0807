"""`liftos rates`."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from liftos.memory.v1.source_pb2 import ExchangeRate
from liftos_cli.errors import CommandError
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.options import LimitOption
from liftos_cli.output import Column, print_json

app = command_app(summary="Keep exchange rates.")

_COLUMNS: Final = ("currency_code", "date", "rate")
_MAXIMUM_RATES: Final = 5_000


@app.command("import", epilog="Example: liftos rates import rates.csv")
@calls_memory
async def import_rates(
    call: MemoryCall,
    file: Annotated[
        Path, typer.Argument(help="CSV with currency_code, date, rate and perhaps source.")
    ],
) -> None:
    """Store rates: units of the base currency for one unit, from a day on."""
    rates = read_rates(file)
    upserted = unchanged = 0
    write_token = ""
    for start in range(0, len(rates), _MAXIMUM_RATES):
        answer = await call.memory.upsert_exchange_rates(rates[start : start + _MAXIMUM_RATES])
        upserted += answer.upserted_count
        unchanged += answer.unchanged_count
        write_token = answer.write_token
    if call.json:
        print_json(
            {
                "upserted_count": upserted,
                "unchanged_count": unchanged,
                "write_token": write_token,
            }
        )
    else:
        print(f"{upserted:,} rates are new or changed, {unchanged:,} as they were.")


@app.command("list", epilog="Example: liftos rates list --currency EUR")
@calls_memory
async def list_rates(
    call: MemoryCall,
    *,
    currency: Annotated[str, typer.Option(metavar="CODE", help="Only this currency.")] = "",
    limit: LimitOption = 100,
) -> None:
    """List rates by currency and day."""
    pages = call.memory.list_exchange_rates(
        currency_code=currency, page_size=page_size(limit, 1_000)
    )
    rates, more = await take(pages, limit)
    print_list(
        "exchange_rates",
        rates,
        more=more,
        json=call.json,
        columns=[
            Column("currency"),
            Column("from"),
            Column("rate", number=True),
            Column("source"),
        ],
        row=lambda rate: [rate.currency_code, rate.date, rate.rate, rate.source],
    )


def read_rates(file: Path) -> Sequence[ExchangeRate]:
    """Return the rates of a CSV file, as texts, so that no digit is lost.

    Raises:
        CommandError: It cannot be read, lacks a column, or holds no rate.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise CommandError(
                    f"{file} has no column {missing[0]}",
                    advice=f"give it the columns {', '.join(_COLUMNS)} and perhaps source",
                )
            rates = [
                ExchangeRate(
                    **{name: (row[name] or "").strip() for name in _COLUMNS},
                    source=(row.get("source") or "").strip(),
                )
                for row in reader
            ]
    except OSError as error:
        raise CommandError(
            f"{file} cannot be read ({error.strerror})", advice="name a file that exists"
        ) from None
    except UnicodeDecodeError:
        raise CommandError(f"{file} is not UTF-8", advice="convert the file to UTF-8") from None
    if not rates:
        raise CommandError(f"{file} holds no rates", advice="add a line for each rate")
    return rates
