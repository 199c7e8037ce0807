"""`liftos search`."""

from typing import Annotated, Final

import typer
from rich.text import Text

from liftos.memory.v1.document_pb2 import Highlight, SearchHit
from liftos_cli.entry_view import metric_cell
from liftos_cli.figures import MICROS, enum_word_of, ratio
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.options import FilterOption, FromOption, LimitOption, ToOption
from liftos_cli.output import print_json, print_text, say

app = command_app()

_MATCH: Final = "bold yellow"
_INDENT: Final = " " * 4


@app.command(
    epilog="Example: liftos search 'summer sale with falling cost' --kind weekly_digest --limit 5"
)
@calls_memory
async def search(
    call: MemoryCall,
    query: Annotated[str, typer.Argument(help="What is looked for.")],
    *,
    mode: Annotated[
        str,
        typer.Option(metavar="MODE", help="hybrid, neural or lexical."),
    ] = "hybrid",
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="profile or weekly_digest; may be repeated."),
    ] = None,
    start_date: FromOption = None,
    end_date: ToOption = None,
    filter_: FilterOption = "",
    minimum_quality: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Only documents that score so much.", show_default=False),
    ] = None,
    one_per_object: Annotated[
        bool, typer.Option("--one-per-object", help="At most one hit for each object.")
    ] = False,
    limit: LimitOption = 10,
) -> None:
    """Find campaigns and their weeks by meaning and by words, best first."""
    pages = call.memory.search_documents(
        query,
        mode=mode,
        kinds=kinds or [],
        start_date=start_date,
        end_date=end_date,
        filter=filter_,
        minimum_quality_score=minimum_quality,
        group_by_object=one_per_object,
        page_size=min(limit, 100),
    )
    hits, _ = await take(pages, limit)
    if call.json:
        print_json({"hits": hits})
        return
    if not hits:
        say("Nothing found.")
    for place, hit in enumerate(hits, start=1):
        print_text(_shown(place, hit))


def _shown(place: int, hit: SearchHit) -> Text:
    document = hit.document
    text = Text()
    text.append(f"{place:>2}. ", style="dim").append(document.title, style="bold")
    text.append(f"  {enum_word_of(document, 'kind').lower()}  {hit.score:.3f}\n", style="dim")
    for highlight in hit.highlights:
        text.append(_INDENT).append_text(marked(highlight)).append("\n")
    if hit.explanation:
        text.append(f"{_INDENT}{hit.explanation}\n")
    legs = ", ".join(
        f"{enum_word_of(leg, 'mode').lower()} #{leg.rank} ({ratio(leg.raw_score)}, "
        f"adds {leg.contribution:.3f})"
        for leg in hit.legs
    )
    text.append(f"{_INDENT}{legs}\n", style="dim")
    numbers = [
        f"{field.name.removesuffix(MICROS)} {metric_cell(hit.metrics, field.name)}"
        for field, _ in hit.metrics.ListFields()
    ]
    numbers += [f"{field.name} {ratio(value)}" for field, value in hit.derived_metrics.ListFields()]
    if numbers:
        text.append(f"{_INDENT}{', '.join(numbers)}\n", style="dim")
    return text


def marked(highlight: Highlight) -> Text:
    """Return a snippet with its matches marked, and each further line as far in as the first."""
    text = Text(highlight.snippet)
    for span in highlight.spans:
        text.stylize(_MATCH, span.start, span.end)
    return Text(f"\n{_INDENT}").join(text.split("\n"))
