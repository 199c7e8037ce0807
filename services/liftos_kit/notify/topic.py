"""What people are told of, and the names that follow from it."""

from dataclasses import dataclass

from liftos_kit.core.names import Pattern


@dataclass(frozen=True, slots=True)
class Topic:
    """What people are told of.

    Attributes:
        noun: One of it, in lower-case letters, such as `alert`. Names follow from it: the resource
            `orgs/{org}/alertRoutes/{alert_route}`, its field `alert_route`, the methods
            `CreateAlertRoute` and so on, the tables `alert_routes` and `alert_messages`.
    """

    noun: str

    @property
    def field(self) -> str:
        """Name of a route's field."""
        return f"{self.noun}_route"

    @property
    def resource(self) -> str:
        """Name of a route's message, and what is in the middle of its methods' names."""
        return f"{self.noun.title()}Route"

    def route_name(self, org: str, route: str) -> str:
        """Return the name of a route."""
        return self._pattern.format(**{"org": org, self.field: route})

    def route_id(self, name: str, *, field: str = "name") -> str:
        """Return the id of a route from its name.

        Raises:
            InvalidFieldsError: It is none; `field` is named.
        """
        return self._pattern.parse(name, field=field)[self.field]

    @property
    def _pattern(self) -> Pattern:
        return Pattern(f"orgs/{{org}}/{self.noun}Routes/{{{self.field}}}")
