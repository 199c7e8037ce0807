"""`liftos insights routes`."""

from operator import attrgetter
from typing import Annotated

import typer

from liftos.memory.v1.insight_pb2 import InsightKind
from liftos_cli.memory_call import calls_memory
from liftos_cli.route_commands import RouteGroup, route_app

app = route_app(
    RouteGroup(
        noun="insight",
        calls=calls_memory,
        client=attrgetter("memory"),
        kinds=InsightKind,
        kinds_option=Annotated[
            list[str] | None,
            typer.Option(
                "--kind",
                metavar="KIND",
                help="Only these, trend, anomaly or benchmark; may be repeated.",
            ),
        ],
        severity_option=Annotated[
            float | None,
            typer.Option(
                "--severity",
                metavar="NUMBER",
                min=0.0,
                max=100.0,
                help="Only insights at least as severe; 30 is one in a thousand.",
                show_default=False,
            ),
        ],
        severity_number=float,
        severity_text=lambda route: f"{route.minimum_severity:g}",
        severity_example="40",
    )
)
