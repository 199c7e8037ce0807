"""`liftos alerts routes`."""

from operator import attrgetter
from typing import Annotated

import typer

from liftos.ingestion.v1.alert_pb2 import AlertKind, AlertSeverity
from liftos_cli.figures import enum_word_of
from liftos_cli.ingestion_call import calls_ingestion
from liftos_cli.route_commands import RouteGroup, route_app
from liftos_client.arguments import enum_value

app = route_app(
    RouteGroup(
        noun="alert",
        calls=calls_ingestion,
        client=attrgetter("ingestion"),
        kinds=AlertKind,
        kinds_option=Annotated[
            list[str] | None,
            typer.Option(
                "--kind", metavar="KIND", help="Only these, such as run_failed; may be repeated."
            ),
        ],
        severity_option=Annotated[
            str | None,
            typer.Option(
                "--severity",
                metavar="WORD",
                help="Only info, warning or critical ones, and what is worse.",
                show_default=False,
            ),
        ],
        severity_number=lambda word: enum_value(AlertSeverity, word, field="minimum_severity"),
        severity_text=lambda route: enum_word_of(route, "minimum_severity"),
        severity_example="critical",
    )
)
