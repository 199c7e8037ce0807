"""Names of what is spoken of in every layer."""

from typing import Final

from liftos_kit.core.names import Pattern

CONNECTION_NAME: Final = Pattern("orgs/{org}/connections/{connection}")
ROUTE_NAME: Final = Pattern("orgs/{org}/alertRoutes/{alert_route}")


def connection_name(org: str, connection: str) -> str:
    """Return the name of a connection."""
    return CONNECTION_NAME.format(org=org, connection=connection)


def route_name(org: str, alert_route: str) -> str:
    """Return the name of an alert route."""
    return ROUTE_NAME.format(org=org, alert_route=alert_route)
