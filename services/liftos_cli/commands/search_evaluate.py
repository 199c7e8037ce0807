"""`liftos search evaluate`."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBars

from liftos.memory.v1.memory_service_pb2 import EvaluateSearchResponse
from liftos_cli.figures import UNSET, enum_word_of
from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.output import Column, print_json, print_table, say
from liftos_cli.relevance.collection import Collection, read_collection
from liftos_cli.relevance.judged_run import MAXIMUM_TEXT_CHARACTERS, JudgedRun, Progress
from liftos_cli.relevance.leftovers import purge_leftovers
from liftos_cli.relevance.measures import CONFIDENCE, Measure, measure

app = command_app()

_MODES: Final = ("hybrid", "neural", "lexical", "conceptual", "knowledge")
_SECONDS: Final = 600.0
_MISSES_SHOWN: Final = 5


@app.command(
    epilog="Example: liftos search evaluate --docs docs.jsonl --queries queries.tsv"
    " --qrels judged.qrels --mode hybrid --json"
)
@calls_memory
async def evaluate(
    call: MemoryCall,
    *,
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="What to measure: hybrid, neural or lexical; with a judged collection also"
            " conceptual or knowledge.",
        ),
    ] = "hybrid",
    count: Annotated[
        int, typer.Option(min=1, max=2_000, metavar="N", help="Questions to make and ask.")
    ] = 200,
    seed: Annotated[int, typer.Option(help="Another one makes other questions.")] = 0,
    docs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='A judged collection instead: its documents, lines of {"_id": …, "text": …},'
            " maybe with a title.",
            show_default=False,
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Its queries, lines of id, tab, text.", show_default=False
        ),
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Its judgements as TREC has them: query, 0, document, relevance.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure how well search finds what is there.

    By itself: recall of the index that serves against exact search, and success on questions
    about the organisation's own documents whose answers are known.

    With a judged collection: nDCG, reciprocal rank and recall with bootstrap intervals. Its
    documents are written as notes of a scope of their own, indexed, searched, and deleted again
    whatever happens; what a run left that was killed is deleted by the next one on this machine.
    """
    mode = mode.lower()
    if mode not in _MODES:
        raise typer.BadParameter(f"choose one of {', '.join(_MODES)}", param_hint="--mode")
    if docs and queries and qrels:
        collection = read_collection(docs, queries, qrels)
        await purge_leftovers(call.memory)
        await _judged(call, collection, mode)
    elif docs or queries or qrels:
        raise typer.BadParameter(
            "a judged collection has three files; give --docs, --queries and --qrels",
            param_hint="--docs",
        )
    else:
        await purge_leftovers(call.memory)
        answer = await call.memory.evaluate_search(
            query_count=count, mode=mode, seed=seed, timeout_seconds=_SECONDS
        )
        if call.json:
            print_json(answer)
        else:
            _print_evaluation(answer)


async def _judged(call: MemoryCall, collection: Collection, mode: str) -> None:
    # Who ends this the other way wants the notes gone as well.
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, signal.raise_signal, signal.SIGINT
    )
    with _progress(collection) as progress:
        run = JudgedRun(call.memory, call.org, collection, mode, progress)
        rankings = await run.rankings()
    measures = measure(rankings, collection.judgements)
    if call.json:
        print_json(
            {
                "mode": mode,
                "document_count": len(collection.documents),
                "query_count": len(collection.queries),
                "unjudged_query_count": collection.unjudged_query_count,
                "unasked_query_count": collection.unasked_query_count,
                "empty_document_count": run.empty_document_count,
                "cut_document_count": run.cut_document_count,
                "unanswered_query_count": run.unanswered_query_count,
                **{name: each.mean for name, each in measures.items()},
                **{f"{name}_interval": [each.low, each.high] for name, each in measures.items()},
                "confidence": CONFIDENCE,
            }
        )
        return
    print_table(
        [Column("measure"), Column("mean", number=True), Column("95 % interval", number=True)],
        [_measure_row(name, each) for name, each in measures.items()],
    )
    say(
        f"{mode.capitalize()} search, {len(collection.queries):,} queries, "
        f"{len(collection.documents):,} documents."
    )
    _say_what_is_left_out(collection, run)


def _say_what_is_left_out(collection: Collection, run: JudgedRun) -> None:
    if collection.unjudged_query_count:
        say(f"{collection.unjudged_query_count:,} queries have no document that answers them.")
    if collection.unasked_query_count:
        say(f"Judgements of {collection.unasked_query_count:,} queries are of none that is asked.")
    if run.unanswered_query_count:
        say(f"{run.unanswered_query_count:,} queries found nothing.")
    if run.empty_document_count:
        say(f"{run.empty_document_count:,} documents say nothing and cannot be found.")
    if run.cut_document_count:
        say(
            f"{run.cut_document_count:,} documents are searched as far as their first "
            f"{MAXIMUM_TEXT_CHARACTERS:,} characters."
        )


@contextmanager
def _progress(collection: Collection) -> Iterator[Progress]:
    """Show bars on a terminal's stderr, and nothing elsewhere."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with ProgressBars(*columns, console=console, disable=not sys.stderr.isatty()) as bars:
        documents, queries = len(collection.documents), len(collection.queries)
        written = bars.add_task("documents written", total=documents)
        indexed = bars.add_task("documents indexed", total=documents)
        asked = bars.add_task("queries asked", total=queries)
        yield Progress(
            written=lambda more: bars.advance(written, more),
            indexed=lambda more: bars.advance(indexed, more),
            asked=lambda more: bars.advance(asked, more),
        )


def _measure_row(name: str, found: Measure) -> list[str]:
    return [name, f"{found.mean:.4f}", f"{found.low:.4f} to {found.high:.4f}"]


def _print_evaluation(answer: EvaluateSearchResponse) -> None:
    if not answer.query_count:
        say("There is nothing to ask for yet: no document is indexed, or there was no time.")
        return
    interval = f"{answer.success_at_5_low:.3f} to {answer.success_at_5_high:.3f}"
    print_table(
        [Column("measure"), Column("value", number=True), Column("95 % interval", number=True)],
        [
            ["recall_at_10", _share(answer, "recall_at_10"), UNSET],
            ["success_at_5", _share(answer, "success_at_5"), interval],
            *(
                [
                    f"  by {enum_word_of(each, 'kind').lower()}",
                    f"{each.success_count} of {each.query_count}",
                    UNSET,
                ]
                for each in answer.kinds
            ),
            ["filter_accuracy", _share(answer, "filter_accuracy"), UNSET],
        ],
    )
    say(f"{answer.query_count:,} questions, {answer.document_count:,} documents.")
    for miss in answer.missed_queries[:_MISSES_SHOWN]:
        say(
            f"Missed: {miss.query!r} asks for {miss.wanted_title}; first came "
            f"{miss.first_title or 'nothing'}."
        )


def _share(
    answer: EvaluateSearchResponse,
    name: Literal["recall_at_10", "success_at_5", "filter_accuracy"],
) -> str:
    return f"{getattr(answer, name):.3f}" if answer.HasField(name) else UNSET
