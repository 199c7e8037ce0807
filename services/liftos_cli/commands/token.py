"""`liftos token`."""

import os
from typing import Annotated

import typer

from liftos_cli.errors import CommandError
from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import DataDirOption, chosen_data_dir, token_secret
from liftos_cli.tokens import ROLES, SCOPES, issue_token, lifetime_seconds

app = command_app()


@app.command(epilog="Example: export LIFTOS_TOKEN=$(liftos token --org demo --role reader)")
def token(
    *,
    org: Annotated[
        str, typer.Option(envvar="LIFTOS_ORG", help="The organisation that the caller acts for.")
    ],
    role: Annotated[list[str], typer.Option(help=f"One of {', '.join(ROLES)}; may be repeated.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(SCOPES)}; may be repeated; by default all."),
    ] = None,
    lifetime: Annotated[str, typer.Option(metavar="TIME", help="Such as 30m, 1h or 7d.")] = "1h",
    subject: Annotated[str, typer.Option(metavar="NAME", help="Who calls.")] = "developer",
    data_dir: DataDirOption = None,
) -> None:
    """Print a token that lets a caller in, and nothing else.

    It is signed with LIFTOS_JWT_SECRET, else with the secret of the stack in the data directory.
    """
    directory = chosen_data_dir(data_dir)
    secret = os.environ.get("LIFTOS_JWT_SECRET") or token_secret(directory)
    if not secret:
        raise CommandError(
            f"there is no secret in {directory}",
            advice="start a stack with `liftos up`, name its --data-dir, or set LIFTOS_JWT_SECRET",
        )
    print(
        issue_token(
            secret,
            org=org,
            roles=role,
            scopes=scope or SCOPES,
            subject=subject,
            lifetime_seconds=lifetime_seconds(lifetime),
        )
    )
