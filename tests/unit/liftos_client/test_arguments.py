"""What methods take for convenience."""

import pytest

from liftos_client.arguments import text_list
from liftos_client.errors import FieldInvalidError


def test_one_text_is_not_a_list_of_its_letters() -> None:
    """The error shows the list that was meant."""
    assert text_list(["platform"], field="group_by") == ["platform"]
    with pytest.raises(FieldInvalidError, match=r"group_by: 'platform' is no list.*\['platform'\]"):
        text_list("platform", field="group_by")
