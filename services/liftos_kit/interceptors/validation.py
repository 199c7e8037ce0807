"""Holds each request message against the rules of the contract, and what stores can hold."""

from typing import Final, cast

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from liftos_kit.contents import Search, search_for_unstorable
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.interceptors.around import Around, Method


class ValidationLayer:
    """Checks every message, and names every broken rule at once."""

    def __init__(self) -> None:
        self._validator: Final = protovalidate.Validator()
        self._searches: Final[dict[str, Search | None]] = {}

    def bind(self, method: Method) -> Around | None:
        """Check the requests of every method but health and reflection."""
        return None if method.is_infrastructure else Around(check=self.check)

    def check(self, message: Message) -> None:
        """Check one message.

        Raises:
            InvalidFieldsError: It breaks rules; the error lists them all.
        """
        found = [_violation(each) for each in self._validator.collect_violations(message)]
        search = self._search(message)
        if search is not None:
            search(message, "", found)
        if found:
            raise InvalidFieldsError(found)

    def _search(self, message: Message) -> Search | None:
        descriptor = cast("Descriptor", message.DESCRIPTOR)
        name = descriptor.full_name
        if name not in self._searches:
            self._searches[name] = search_for_unstorable(descriptor)
        return self._searches[name]


def _violation(found: protovalidate.Violation) -> FieldViolation:
    proto = found.proto
    return FieldViolation(field=_path(proto.field), description=proto.message, rule=proto.rule_id)


def _path(path: protovalidate.FieldPathPb | None) -> str:
    if path is None:
        return ""
    return ".".join(
        element.field_name + ("" if element.subscript is None else f"[{element.subscript.value}]")
        for element in path.elements
    )
