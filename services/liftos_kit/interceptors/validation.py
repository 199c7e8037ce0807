"""Holds each request message against the rules of the contract."""

from typing import Final

import protovalidate
from google.protobuf.message import Message

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.interceptors.around import Around, Method


class ValidationLayer:
    """Checks every message, and names every broken rule at once."""

    def __init__(self) -> None:
        self._validator: Final = protovalidate.Validator()

    def bind(self, method: Method) -> Around | None:
        """Check the requests of every method but health and reflection."""
        return None if method.is_infrastructure else Around(check=self.check)

    def check(self, message: Message) -> None:
        """Check one message.

        Raises:
            InvalidFieldsError: It breaks rules; the error lists them all.
        """
        if found := self._validator.collect_violations(message):
            raise InvalidFieldsError(_violation(each) for each in found)


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
