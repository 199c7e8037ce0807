"""`liftos search`."""

from typing import Annotated, Any, Final

import typer
from rich.text import Text
from typer.core import TyperCommand

from liftos.memory.v1.document_pb2 import Highlight, LegReport, ObjectRef, SearchHit
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos.memory.v1.memory_service_pb2 import SearchDocumentsResponse
from liftos_cli.commands import search_evaluate
from liftos_cli.entry_view import metric_cell
from liftos_cli.figures import MICROS, enum_word_of, ratio
from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.message_view import days_text
from liftos_cli.options import FilterOption, FromOption, LimitOption, ToOption
from liftos_cli.output import print_json, print_text, say
from liftos_client.arguments import enum_value
from liftos_client.pages import Pages

app = command_app()

_MATCH: Final = "bold yellow"
_INDENT: Final = " " * 4


class SearchCommand(TyperCommand):
    """A search, unless its first word is `evaluate`; `liftos search -- evaluate` looks for that."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: Any = None,  # noqa: ANN401  # typer keeps the class to itself
        **extra: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Return the context of the search, or of the evaluation of searches."""
        if args[:1] == ["evaluate"]:
            command = typer.main.get_command(search_evaluate.app)
            return command.make_context(f"{info_name} evaluate", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@app.command(
    cls=SearchCommand,
    epilog="Example: liftos search 'summer sale with falling cost' --kind weekly_digest --limit 5",
)
@calls_memory
async def search(
    call: MemoryCall,
    query: Annotated[
        str, typer.Argument(help="What is looked for; may be left out with --like.")
    ] = "",
    *,
    mode: Annotated[
        str,
        typer.Option(metavar="MODE", help="hybrid, neural, lexical, conceptual or knowledge."),
    ] = "hybrid",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            metavar="MODE=WEIGHT",
            help="A leg of a hybrid search, such as knowledge=0.2; may be repeated.",
        ),
    ] = None,
    fusion: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="How a hybrid search brings its legs into one order: weighted_min_max or"
            " reciprocal_rank.",
        ),
    ] = "weighted_min_max",
    like: Annotated[
        str,
        typer.Option(
            metavar="FIELD=VALUE,…",
            help="Find what resembles an object, such as platform=meta,level=campaign,"
            "account_id=act_1,campaign_id=7.",
        ),
    ] = "",
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="profile, weekly_digest, insight, artifact or note; may be repeated.",
        ),
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
    """Find objects, weeks, notes and artifacts, best first.

    `liftos search evaluate --help` tells how to measure how well it does.
    """
    pages = call.memory.search_documents(
        query,
        mode="conceptual" if like else mode,
        weights=weights_of(weights or []),
        fusion_method=fusion,
        like=object_of(like) if like else None,
        kinds=kinds or [],
        start_date=start_date,
        end_date=end_date,
        filter=filter_,
        minimum_quality_score=minimum_quality,
        group_by_object=one_per_object,
        page_size=min(limit, 100),
    )
    hits, legs = await _first_hits(pages, limit)
    if call.json:
        print_json({"hits": hits, "legs": legs})
        return
    if not hits:
        say("Nothing found.")
    for place, hit in enumerate(hits, start=1):
        print_text(_shown(place, hit))
    for leg in legs:
        if leg.note:
            say(f"{enum_word_of(leg, 'mode').capitalize()}: {leg.note}.")


async def _first_hits(
    pages: Pages[SearchHit, SearchDocumentsResponse], limit: int
) -> tuple[list[SearchHit], list[LegReport]]:
    hits: list[SearchHit] = []
    legs: list[LegReport] = []
    async for page in pages.pages():
        hits += page.hits
        legs = list(page.legs)
        if len(hits) >= limit:
            break
    return hits[:limit], legs


def weights_of(texts: list[str]) -> dict[str, float]:
    """Return the weights of legs from texts such as `knowledge=0.2`.

    Raises:
        BadParameter: A text is none.
    """
    weights: dict[str, float] = {}
    for text in texts:
        mode, _, number = text.partition("=")
        try:
            weights[mode.strip()] = float(number)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is no MODE=WEIGHT; write for example knowledge=0.2",
                param_hint="--weight",
            ) from None
    return weights


def object_of(text: str) -> ObjectRef:
    """Return an object from a text such as `platform=meta,level=campaign,campaign_id=7`.

    Raises:
        BadParameter: A part is no field with a value.
        FieldInvalidError: There is no such level.
    """
    names = [field.name for field in ObjectRef.DESCRIPTOR.fields]
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip() not in names or not value:
            raise typer.BadParameter(
                f"{part!r} is none of {', '.join(names)} with a value, such as platform=meta",
                param_hint="--like",
            )
        fields[name.strip()] = value.strip()
    level = enum_value(EntryLevel, fields.pop("level", ""), field="level")
    return ObjectRef(**fields, level=level)


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
        days = days_text(hit.metrics_date_range)
        text.append(f"{_INDENT}{days}: {', '.join(numbers)}{_counted(hit)}\n", style="dim")
    if hit.concepts:
        places = ", ".join(f"{each.dimension} {each.percentile:.2f}" for each in hit.concepts)
        text.append(f"{_INDENT}{places}\n", style="dim")
    return text


def _counted(hit: SearchHit) -> str:
    credited = f", credited by {hit.attribution_key}" if hit.attribution_key else ""
    return f" (dated by {enum_word_of(hit, 'date_basis').lower()}{credited})"


def marked(highlight: Highlight) -> Text:
    """Return a snippet with its matches marked, and each further line as far in as the first."""
    text = Text(highlight.snippet)
    for span in highlight.spans:
        text.stylize(_MATCH, span.start, span.end)
    return Text(f"\n{_INDENT}").join(text.split("\n"))
