"""Options of `liftos search` that are more than a word."""

import pytest
import typer

from liftos.memory.v1.document_pb2 import ObjectRef
from liftos.memory.v1.entry_pb2 import ENTRY_LEVEL_CAMPAIGN
from liftos_cli.commands.search import object_of, weights_of
from liftos_client.errors import FieldInvalidError


def test_weights_are_modes_with_numbers() -> None:
    """Each option names one leg; what is none is refused with an example."""
    assert weights_of([]) == {}
    assert weights_of(["neural=0.7", "knowledge = .3"]) == {"neural": 0.7, "knowledge": 0.3}
    for text in ("neural", "neural=", "neural=much"):
        with pytest.raises(typer.BadParameter, match="write for example knowledge"):
            weights_of([text])


def test_an_object_is_its_fields() -> None:
    """Platform, level and ids; unknown fields and levels are refused by name."""
    found = object_of("platform=meta, level=campaign,account_id=act_1,campaign_id=7")
    assert found == ObjectRef(
        platform="meta", level=ENTRY_LEVEL_CAMPAIGN, account_id="act_1", campaign_id="7"
    )
    for text in ("meta", "platform=", "colour=red"):
        with pytest.raises(typer.BadParameter, match="platform, level, account_id"):
            object_of(text)
    with pytest.raises(FieldInvalidError, match="CAMPAIGN"):
        object_of("platform=meta,level=continent")
