"""Names of what is spoken of in every layer."""

from typing import Final

from liftos_kit.core.names import Pattern
from liftos_kit.notify.topic import Topic

CONNECTION_NAME: Final = Pattern("orgs/{org}/connections/{connection}")
ALERTS: Final = Topic("alert")
"""What people are told of by routes."""


def connection_name(org: str, connection: str) -> str:
    """Return the name of a connection."""
    return CONNECTION_NAME.format(org=org, connection=connection)
