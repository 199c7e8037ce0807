"""Resource names, `orgs/{org}/entries/{entry}`: the one place that reads and writes them."""

import re
from collections.abc import Mapping
from typing import Final

from liftos_kit.core.errors import InvalidFieldsError

_ORG: Final = r"[a-z0-9][a-z0-9-]{0,62}"
_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,254}"
_VARIABLE: Final = re.compile(r"\{([a-z_]+)\}")
_ORG_NAME: Final = re.compile(rf"orgs/({_ORG})(?:/.*)?", re.ASCII | re.DOTALL)


class Pattern:
    """The shape of one kind of resource name.

    `Pattern("orgs/{org}/entries/{entry}")` reads and writes names of entries. The id `org` is
    lower-case letters, digits and hyphens, at most 63; any other id is letters, digits and
    `._~:@-`, at most 255, beginning with a letter or digit.
    """

    __slots__ = ("_regex", "template", "variables")

    def __init__(self, template: str) -> None:
        self.template: Final = template
        self.variables: Final = tuple(_VARIABLE.findall(template))
        pieces = _VARIABLE.split(template)
        self._regex = re.compile(
            "".join(
                f"(?P<{piece}>{_ORG if piece == 'org' else _ID})" if index % 2 else re.escape(piece)
                for index, piece in enumerate(pieces)
            ),
            re.ASCII,
        )

    def parse(self, name: str, *, field: str = "name") -> dict[str, str]:
        """Return the ids in a name, by variable.

        Args:
            name: The full resource name.
            field: The request field that holds it, for the error.

        Raises:
            InvalidFieldsError: The name does not have this shape.
        """
        found = self._regex.fullmatch(name)
        if found is None:
            raise InvalidFieldsError.of(
                field, f"must look like {self.template}", rule="resource_name"
            )
        return found.groupdict()

    def format(self, **ids: str) -> str:
        """Return the name with these ids.

        Raises:
            InvalidFieldsError: An id is missing, unknown or not allowed in a name.
        """
        if set(ids) != set(self.variables):
            raise InvalidFieldsError.of(
                "name",
                f"{self.template} takes {', '.join(self.variables)}, not {', '.join(sorted(ids))}",
                rule="resource_name",
            )
        name = self.template.format_map(ids)
        if self._parsed(name) != ids:
            raise InvalidFieldsError.of(
                "name", f"{name!r} does not look like {self.template}", rule="resource_name"
            )
        return name

    def matches(self, name: str) -> bool:
        """Tell whether a name has this shape."""
        return self._regex.fullmatch(name) is not None

    def _parsed(self, name: str) -> Mapping[str, str] | None:
        found = self._regex.fullmatch(name)
        return None if found is None else found.groupdict()

    def __repr__(self) -> str:
        return f"Pattern({self.template!r})"


ORG: Final = Pattern("orgs/{org}")
"""The org itself, parent of everything."""


def org_of(name: str, *, field: str = "parent") -> str:
    """Return the org id that a resource name begins with.

    Raises:
        InvalidFieldsError: The name does not begin with `orgs/{org}`.
    """
    found = _ORG_NAME.fullmatch(name)
    if found is None:
        raise InvalidFieldsError.of(field, "must begin with orgs/{org}", rule="resource_name")
    return found[1]


def is_org_id(text: str) -> bool:
    """Tell whether a text can be the id of an org."""
    return re.fullmatch(_ORG, text, re.ASCII) is not None
