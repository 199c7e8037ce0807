"""`liftos fence`."""

from typing import Annotated

import typer

from liftos.memory.v1.memory_service_pb2 import WriteFence
from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.output import print_json

app = command_app(summary="Close and open writes.")

ScopeArgument = Annotated[
    str, typer.Argument(metavar="SCOPE", help="The fence_scope of writers, or '*' for all writes.")
]


@app.command("set", epilog="Example: liftos fence set '*' --epoch 2 --closed")
@calls_memory
async def set_fence(
    call: MemoryCall,
    scope: ScopeArgument,
    *,
    epoch: Annotated[
        int, typer.Option(min=0, help="Writers with a lower epoch are refused from now on.")
    ],
    closed: Annotated[
        bool, typer.Option("--closed/--open", help="Refuse all writes of the scope, or let them.")
    ],
) -> None:
    """Close or open the writes of a scope. When it returns, none from before is under way."""
    answer = await call.memory.set_write_fence(scope, epoch=epoch, closed=closed)
    _print(answer.fence, json=call.json)


@app.command(epilog="Example: liftos fence get '*'")
@calls_memory
async def get(call: MemoryCall, scope: ScopeArgument) -> None:
    """Show the fence of a scope."""
    _print(await call.memory.get_write_fence(scope), json=call.json)


def _print(fence: WriteFence, *, json: bool) -> None:
    if json:
        print_json(fence)
    else:
        state = "closed" if fence.closed else "open"
        print(f"{fence.scope} is {state}, epoch {fence.epoch}.")
