"""`liftos context`."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from liftos_cli.figures import counted
from liftos_cli.lazy_group import command_app
from liftos_cli.options import FilterOption, FromOption, LimitOption, MinimumQualityOption, ToOption
from liftos_cli.output import print_json, say
from liftos_cli.service_call import MEMORY, calls_service
from liftos_client.llm_context import Citation
from liftos_client.unified import AsyncUnifiedDataAPI

app = command_app()


@dataclass(frozen=True, slots=True)
class ContextCall:
    """What the command works with: data as modules read it, and whether to print JSON."""

    data: AsyncUnifiedDataAPI
    json: bool


async def context(
    call: ContextCall,
    query: Annotated[str, typer.Argument(help="What is asked.")],
    *,
    budget_tokens: Annotated[
        int, typer.Option("--budget", min=1, metavar="TOKENS", help="The text has at most so many.")
    ] = 2_000,
    maximum_insights: Annotated[
        int, typer.Option("--insights", min=0, metavar="N", help="At most so many insights.")
    ] = 5,
    limit: LimitOption = 10,
    start_date: FromOption = None,
    end_date: ToOption = None,
    filter_: FilterOption = "",
    minimum_quality_score: MinimumQualityOption = None,
) -> None:
    """Print facts about a question for a language model, each to be cited by its number.

    The text goes to stdout, where its facts come from to stderr; --json has both. No model is
    asked: numbers come from the store.
    """
    found = await call.data.get_llm_context_data(
        query,
        budget_tokens=budget_tokens,
        limit=limit,
        start_date=start_date,
        end_date=end_date,
        filter=filter_,
        minimum_quality_score=minimum_quality_score,
        maximum_insights=maximum_insights,
    )
    if call.json:
        print_json(asdict(found))
        return
    print(found.text, end="")
    for citation in found.citations:
        say(_source(citation))
    if found.omitted:
        say(
            f"{counted(len(found.omitted), 'fact')} did not fit into {budget_tokens:,} tokens;"
            " --budget makes room."
        )


app.command(
    epilog="Example: liftos context 'why did costs rise before the holidays?' --budget 1500"
)(
    calls_service(
        context, MEMORY, lambda client, json: ContextCall(AsyncUnifiedDataAPI(client), json)
    )
)


def _source(citation: Citation) -> str:
    return f"[{citation.number}] {citation.record or citation.source}"
