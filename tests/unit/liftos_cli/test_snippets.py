"""Snippets of search hits on a terminal."""

from liftos.memory.v1.document_pb2 import Highlight, TextSpan
from liftos_cli.commands.search import marked


def test_each_line_of_a_snippet_is_as_far_in_as_the_first() -> None:
    """Line breaks of a document keep the indentation, and matches stay marked after them."""
    snippet = "Winter sale\nof shoes"
    text = marked(
        Highlight(snippet=snippet, spans=[TextSpan(start=0, end=6), TextSpan(start=15, end=20)])
    )
    assert text.plain == "Winter sale\n    of shoes"
    assert [text.plain[span.start : span.end] for span in text.spans] == ["Winter", "shoes"]
