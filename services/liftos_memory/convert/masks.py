"""Field masks of reads."""

from functools import lru_cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from liftos_kit.core.errors import FieldViolation, InvalidFieldsError

M = TypeVar("M", bound=Message)


def apply_mask(message: M, mask: FieldMask) -> M:
    """Return a message with the fields of the mask only; the message itself without a mask.

    Raises:
        InvalidFieldsError: The mask names fields that the message does not have.
    """
    if not mask.paths:
        return message
    paths = tuple(mask.paths)
    check_mask(message.DESCRIPTOR, paths)
    kept = type(message)()
    mask.MergeMessage(message, kept)
    return kept


@lru_cache(maxsize=256)
def check_mask(descriptor: Descriptor, paths: tuple[str, ...], field: str = "read_mask") -> None:
    """Check that a message has these fields.

    Raises:
        InvalidFieldsError: It has not.
    """
    wrong = [path for path in paths if not _has_path(descriptor, path)]
    if wrong:
        raise InvalidFieldsError(
            FieldViolation(field, f"{descriptor.name} has no field {path}", "field_mask")
            for path in wrong
        )


def _has_path(descriptor: Descriptor, path: str) -> bool:
    inner: Descriptor | None = descriptor
    for name in path.split("."):
        if inner is None or name not in inner.fields_by_name:
            return False
        found: FieldDescriptor = inner.fields_by_name[name]
        inner = None if found.is_repeated else found.message_type
    return True
