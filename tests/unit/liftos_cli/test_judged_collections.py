"""Judged collections: files with errors, and measures that can be checked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftos_cli.errors import CommandError
from liftos_cli.relevance.collection import Collection, read_collection
from liftos_cli.relevance.measures import measure

DOCUMENTS = '{"_id": "d1", "text": "Boots"}\n{"_id": 2, "title": "Two\\nlines", "text": ""}\n'
QUERIES = "q1\tboots\r\nq2\tshoes\tfor snow\n\nq3\tnothing\n"
JUDGEMENTS = "q1 0 d1 1\nq1 0 2 0\nq2\t0\t2\t3\nq3 0 d1 0\nother 0 unknown 1\n"


def _read(
    folder: Path,
    documents: str | bytes = DOCUMENTS,
    queries: str | bytes = QUERIES,
    judgements: str | bytes = JUDGEMENTS,
) -> Collection:
    paths = []
    for name, content in (
        ("docs.jsonl", documents),
        ("queries.tsv", queries),
        ("judgements.qrels", judgements),
    ):
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
        paths.append(folder / name)
    return read_collection(*paths)


def test_a_collection_is_read(tmp_path: Path) -> None:
    """Ids may be numbers, titles are one line, and what is not judged is counted and not asked."""
    found = _read(tmp_path, documents="\ufeff" + DOCUMENTS)
    assert [(each.document_id, each.title, each.text) for each in found.documents] == [
        ("d1", "", "Boots"),
        ("2", "Two lines", ""),
    ]
    assert found.queries == {"q1": "boots", "q2": "shoes\tfor snow"}
    assert found.judgements == {"q1": {"d1": 1, "2": 0}, "q2": {"2": 3}}
    assert (found.unjudged_query_count, found.unasked_query_count) == (1, 1)


@pytest.mark.parametrize(
    ("which", "content", "told"),
    [
        ("documents", "", "docs.jsonl has no documents"),
        ("documents", DOCUMENTS + "{", "line 3 of .*docs.jsonl is no JSON"),
        ("documents", '["d1"]', "line 1 of .*docs.jsonl is no JSON object"),
        ("documents", '{"text": "x"}', "line 1 of .*docs.jsonl has no _id"),
        ("documents", '\n{"_id": "d1"}', "line 2 of .*docs.jsonl has no text"),
        ("documents", DOCUMENTS + DOCUMENTS, "line 3 of .*has the _id 'd1' again"),
        ("documents", b'{"_id": "\xff"}', "docs.jsonl is not UTF-8"),
        ("queries", "\n", "queries.tsv has no queries"),
        ("queries", "q1 boots", "line 1 of .*queries.tsv is no query"),
        ("queries", "q1\t \n", "line 1 of .*queries.tsv is no query"),
        ("queries", "q1\tx\nq1\ty", "line 2 of .*queries.tsv has the query 'q1' again"),
        ("queries", f"q1\t{'x' * 10_001}", "line 1 of .*has 10,001 characters"),
        ("judgements", "", "has no judgements"),
        ("judgements", "q1 0 d1", "line 1 of .*qrels has 3 columns instead of 4"),
        ("judgements", "q1 0 d1 yes", "line 1 of .*qrels has the relevance 'yes'"),
        ("judgements", "q1 0 d1 1\nq1 0 d9 1", "line 2 of .*judges the document 'd9'"),
        ("judgements", "q1 0 d1 1\nq1 0 d1 2", "line 2 of .*and an earlier line 1"),
        ("judgements", "q1 0 d1 0", "no query of .* has a document that answers it"),
    ],
)
def test_errors_of_files_name_the_line(
    tmp_path: Path, which: str, content: str | bytes, told: str
) -> None:
    """Each says what is wrong, and what to do."""
    with pytest.raises(CommandError, match=told) as raised:
        _read(tmp_path, **{which: content})
    assert raised.value.advice


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Named, with what the system said."""
    with pytest.raises(CommandError, match=r"no\.jsonl cannot be read \(No such file"):
        read_collection(tmp_path / "no.jsonl", tmp_path / "q", tmp_path / "j")


def test_measures_by_hand() -> None:
    """Two queries, one with a graded answer in second place, one that found nothing."""
    found = measure(
        {"q1": ["x", "a", "b"]}, {"q1": {"a": 2, "b": 1, "c": 0, "d": -1}, "q2": {"z": 1}}
    )
    gain = (2 / math.log2(3) + 1 / math.log2(4)) / (2 + 1 / math.log2(3))
    assert found["ndcg_at_10"].mean == pytest.approx(gain / 2)
    assert found["mrr_at_10"].mean == pytest.approx(0.25)
    assert found["recall_at_100"].mean == pytest.approx(0.5)


def test_depths() -> None:
    """Of the first ten for order, of the first hundred for recall."""
    ranking = [f"d{number}" for number in range(1, 201)]
    eleventh = measure({"q": ranking}, {"q": {"d11": 1}})
    assert (eleventh["ndcg_at_10"].mean, eleventh["mrr_at_10"].mean) == (0.0, 0.0)
    assert eleventh["recall_at_100"].mean == 1.0
    assert measure({"q": ranking}, {"q": {"d101": 1}})["recall_at_100"].mean == 0.0
    many = measure({"q": ranking}, {"q": dict.fromkeys(ranking, 1)})
    assert many["ndcg_at_10"].mean == pytest.approx(1.0)
    assert many["recall_at_100"].mean == pytest.approx(0.5)


@settings(max_examples=20)
@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_intervals_hold_the_mean(answered: list[bool]) -> None:
    """They are the same each time, and of one value where all queries agree."""
    judgements = {str(number): {"a": 1} for number in range(len(answered))}
    rankings = {str(number): ["a"] if right else ["b"] for number, right in enumerate(answered)}
    found = measure(rankings, judgements)
    assert found == measure(rankings, judgements)
    for each in found.values():
        assert each.mean == pytest.approx(float(np.mean(answered)))
        assert each.low <= each.mean <= each.high
        if len(set(answered)) == 1:
            assert each.low == each.high


def test_more_queries_tell_more() -> None:
    """The interval of 20,000 queries is narrow, and memory does not grow with them."""
    judgements = {str(number): {"a": 1} for number in range(20_000)}
    rankings = {str(number): ["a"] for number in range(10_000)}
    found = measure(rankings, judgements)["mrr_at_10"]
    assert 0.49 < found.low < 0.5 < found.high < 0.51
    assert json.dumps(found.mean) == "0.5"
