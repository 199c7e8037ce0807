"""What modules build on: own mappings, notes, artifacts, all ways to search, and context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct

from liftos.memory.v1.artifact_pb2 import Artifact, ArtifactKind, Note
from liftos.memory.v1.document_pb2 import SearchHit
from liftos.memory.v1.memory_service_pb2 import EvaluateSearchResponse, TransformEntriesResponse
from liftos_cli.demo.movements import Check
from liftos_cli.entry_view import entry_cell
from liftos_cli.figures import enum_word_of
from liftos_client.connection import Client
from liftos_client.llm_context import LlmContext
from liftos_client.unified import AsyncUnifiedDataAPI

_ORIGIN: Final = "liftos-demo"
_SCOPE: Final = "planning"
_NOTE: Final = "billboards-2018"
_ARTIFACT: Final = "adstock"
_NOTE_TEXT: Final = "The city billboards were booked twice in the Black Friday week."
_QUESTION: Final = "what happened to the billboards around Black Friday?"
_DAYS: Final = ("2018-11-01", "2018-11-30")
_BUDGET_TOKENS: Final = 600
_EVALUATED: Final = 6
_WAIT_SECONDS: Final = 60.0
_LEAST_RECALL: Final = 0.99

_MAPPING: Final = {
    "columns": {
        "date": "day",
        "account_id": "shop",
        "campaign_id": "ad.id",
        "campaign_name": "ad.name",
        "currency_code": {"constant": "EUR"},
        "time_zone": {"constant": "Europe/Berlin"},
        "clicks": "clicks",
        "impressions": "shown",
        "spend_micros": "cost",
    }
}
_ROWS: Final = (
    {
        "day": "2018-11-23",
        "shop": "7",
        "ad": {"id": "p1", "name": "Posters"},
        "cost": "12.50",
        "shown": 100,
        "clicks": 120,
    },
    {"day": "23 November", "shop": "7", "ad": {"id": "p1"}, "cost": "3"},
)
"""The first has more clicks than impressions, which is kept and told; the second has no day."""

WAYS: Final = (("CONCEPTUAL", "large campaigns"), ("KNOWLEDGE", "Holiday Sale"))
"""Modes of search about objects, each with a query."""


@dataclass(frozen=True, slots=True)
class ForModules:
    """What modules build on, as the demo met it.

    Attributes:
        transformed: What two raw rows of a source of the organisation's own become.
        found: The best hits of each of `WAYS`.
        kept: Documents that a search finds of a note and an artifact.
        context: Facts for a language model.
        evaluation: How well search finds known items.
    """

    transformed: TransformEntriesResponse
    found: Sequence[Sequence[SearchHit]]
    kept: Sequence[SearchHit]
    context: LlmContext
    evaluation: EvaluateSearchResponse


async def look_for_modules(client: Client) -> ForModules:
    """Register a source with a mapping, keep a note and an artifact, and ask as modules do."""
    memory = client.memory
    await memory.upsert_source("poster_shop", display_name="Poster shop", mapping=_MAPPING)
    transformed = await memory.transform_entries("poster_shop", _ROWS)
    found = [await _hits(client, query, mode=mode, kinds=("PROFILE",)) for mode, query in WAYS]
    parameters = Struct()
    parameters.update({"decay": 0.6, "channel": "OUT_OF_HOME"})
    org = f"orgs/{client.org}"
    await memory.batch_upsert_notes(
        [Note(name=f"{org}/notes/{_NOTE}", scope=_SCOPE, text=_NOTE_TEXT)], origin=_ORIGIN
    )
    written = await memory.batch_upsert_artifacts(
        [
            Artifact(
                name=f"{org}/artifacts/{_ARTIFACT}",
                kind=ArtifactKind.ARTIFACT_KIND_MODEL,
                scope=_SCOPE,
                display_name="Adstock of the city billboards",
                body=parameters,
            )
        ],
        origin=_ORIGIN,
    )
    kept = await _hits(
        client,
        "billboards booked twice, adstock",
        kinds=("NOTE", "ARTIFACT"),
        at_least_as_fresh=written,
        timeout_seconds=_WAIT_SECONDS,
    )
    context = await AsyncUnifiedDataAPI(client).get_llm_context_data(
        _QUESTION,
        budget_tokens=_BUDGET_TOKENS,
        start_date=_DAYS[0],
        end_date=_DAYS[1],
        limit=5,
    )
    evaluation = await memory.evaluate_search(query_count=_EVALUATED, timeout_seconds=_WAIT_SECONDS)
    return ForModules(transformed, found, kept, context, evaluation)


async def _hits(client: Client, query: str, **options: Any) -> Sequence[SearchHit]:  # noqa: ANN401
    pages = client.memory.search_documents(query, page_size=2, **options).pages()
    return (await anext(pages)).hits


def checks_of_modules(seen: ForModules) -> Sequence[Check]:
    """Return what has to hold of what modules build on."""
    issues = _issues(seen.transformed)
    kinds = sorted(enum_word_of(hit.document, "kind").lower() for hit in seen.kept)
    cited = len(seen.context.citations)
    return (
        Check(
            "the mapping of an own source makes an entry, says what is odd, and refuses a bad row",
            len(seen.transformed.entries) == 1
            and bool(issues)
            and {error.field for error in seen.transformed.item_errors} == {"day"},
            ", ".join(issues) or "no issue",
        ),
        Check(
            "search by named dimensions and by relations finds objects",
            all(seen.found),
            f"{', '.join(str(len(hits)) for hits in seen.found)} hits",
        ),
        Check(
            "a note and an artifact are found as soon as they are written",
            kinds == ["artifact", "note"],
            ", ".join(kinds) or "nothing",
        ),
        Check(
            "facts for a language model fit its budget, each with its source",
            0 < seen.context.token_count <= _BUDGET_TOKENS and cited > 0,
            f"{cited} facts in {seen.context.token_count} tokens",
        ),
        Check(
            "of the nearest ten documents the index returns all but one in a hundred",
            seen.evaluation.recall_at_10 >= _LEAST_RECALL,
            f"recall {seen.evaluation.recall_at_10:.3f} of {seen.evaluation.query_count} questions,"
            f" {seen.evaluation.success_at_5:.2f} answered among the first five",
        ),
    )


def print_for_modules(seen: ForModules) -> None:
    """Print what modules build on."""
    for entry in seen.transformed.entries:
        print(
            f"Own mapping: {entry.campaign_name}, {entry_cell(entry, 'spend')} EUR; quality"
            f" {entry.quality.score:.2f} ({', '.join(_issues(seen.transformed))})."
        )
    for error in seen.transformed.item_errors:
        print(f"Row {error.index + 1} is refused: {error.field}: {error.message}")
    for (mode, query), hits in zip(WAYS, seen.found, strict=True):
        print(f"{mode.capitalize()} search for {query!r}:")
        for hit in hits:
            print(f"  {hit.document.title}: {hit.explanation}")
    for hit in seen.kept:
        print(f"Kept as {enum_word_of(hit.document, 'kind').lower()}: {hit.document.title}")
    print(f"\n{seen.context.text.rstrip()}")


def _issues(transformed: TransformEntriesResponse) -> list[str]:
    codes = (issue.code for entry in transformed.entries for issue in entry.quality.issues)
    return list(dict.fromkeys(codes))
