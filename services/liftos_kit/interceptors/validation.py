"""Holds each request message against the rules of the contract, and what stores can hold."""

from typing import Final, cast

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from liftos_kit.contents import Search, search_for_unstorable
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.pattern_words import explain_mismatch
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
    return FieldViolation(
        field=_path(proto.field), description=_description(found), rule=proto.rule_id
    )


def _description(found: protovalidate.Violation) -> str:
    """Say what is allowed in the words of a person, where protovalidate's are a program's."""
    message = found.proto.message
    match found.proto.rule_id:
        case "string.pattern":
            text, pattern = str(found.field_value), str(found.rule_value)
            return explain_mismatch(text, pattern) or message
        case "string.in":
            return f"must be one of {', '.join(found.rule_value)}"
        case "enum.not_in" if list(found.rule_value) == [0]:
            return "must be given"
        case _:
            return message


def _path(path: protovalidate.FieldPathPb | None) -> str:
    if path is None:
        return ""
    return ".".join(
        element.field_name + ("" if element.subscript is None else f"[{element.subscript.value}]")
        for element in path.elements
    )
