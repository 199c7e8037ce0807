"""`liftos search evaluate`: measures of a running service, which is left as it was."""

import json
import signal
import time
from pathlib import Path

from tests.e2e.cli.command_line import CommandLine
from tests.e2e.cli.test_import import campaign, write_csv

TOPICS = {
    "snow": ("Winter boots and shoes for the snow", "footwear for icy streets"),
    "garden": ("Furniture for the garden and patio", "chairs to sit outside"),
    "mail": ("Newsletters and how often they are opened", "who reads our email"),
}


def _collection(folder: Path, count: int) -> list[str]:
    """Write a collection in which each topic has a query; return the options that name it."""
    documents, judgements = [], []
    for number in range(count):
        topic = list(TOPICS)[number % len(TOPICS)]
        own = f"{topic}/{number} é"
        text = f"{TOPICS[topic][0]}, remark {number} of the review."
        documents.append({"_id": own.replace(" ", "_"), "text": text})
        judgements.append(f"{topic} 0 {documents[-1]['_id']} {1 + number % 2}")
    documents.append({"_id": "empty", "title": "", "text": " "})
    documents.append({"_id": "title", "title": "Long " * 60, "text": "x" * 30_000})
    files = {
        "docs": "\n".join(map(json.dumps, documents)),
        "queries": "\n".join(f"{topic}\t{words[1]}" for topic, words in TOPICS.items()),
        "qrels": "\n".join(judgements),
    }
    options = []
    for name, content in files.items():
        (folder / name).write_text(content)
        options += [f"--{name}", str(folder / name)]
    return options


def _notes(stack: CommandLine, org: str) -> list[dict[str, str]]:
    listed = stack.liftos("notes", "list", "--org", org, "--limit", "5000", "--json")
    assert listed.exit_code == 0, listed.stderr
    found: list[dict[str, str]] = json.loads(listed.stdout)["notes"]
    return found


def test_a_judged_collection_is_measured_and_taken_away(stack: CommandLine, tmp_path: Path) -> None:
    """Measures with intervals in each mode; afterwards nothing is found, and nothing is kept."""
    options = _collection(tmp_path, 60)
    found = {}
    for mode in ("neural", "lexical", "hybrid"):
        outcome = stack.liftos(
            "search", "evaluate", *options, "--mode", mode, "--org", "judged", "--json"
        )
        assert outcome.exit_code == 0, outcome.stderr
        found[mode] = json.loads(outcome.stdout)
    hybrid = found["hybrid"]
    assert hybrid["document_count"] == 62
    assert hybrid["query_count"] == 3
    assert hybrid["empty_document_count"] == 1
    assert hybrid["cut_document_count"] == 1
    for name in ("ndcg_at_10", "mrr_at_10", "recall_at_100"):
        low, high = hybrid[f"{name}_interval"]
        assert 0.5 < low <= hybrid[name] <= high <= 1.0
        # The queries share hardly a word with what they ask for.
        assert found["lexical"][name] < found["neural"][name]
    assert _notes(stack, "judged") == []
    again = stack.liftos("search", "winter boots", "--org", "judged", "--json")
    assert json.loads(again.stdout)["hits"] == []


def test_modes_about_objects_find_no_text(stack: CommandLine, tmp_path: Path) -> None:
    """They can be measured too: a collection of texts has no objects, so that nothing is found."""
    options = _collection(tmp_path, 6)
    for mode in ("conceptual", "knowledge"):
        outcome = stack.liftos(
            "search", "evaluate", *options, "--mode", mode, "--org", "of-objects", "--json"
        )
        assert outcome.exit_code == 0, outcome.stderr
        found = json.loads(outcome.stdout)
        assert (found["mode"], found["ndcg_at_10"]) == (mode, 0.0)
        assert found["unanswered_query_count"] == found["query_count"] == 3


def test_whoever_stops_it_leaves_nothing_behind(stack: CommandLine, tmp_path: Path) -> None:
    """Ctrl-C while documents are indexed, and the end that a supervisor sends."""
    options = _collection(tmp_path, 1_500)
    for stop in (signal.SIGINT, signal.SIGTERM):
        running = stack.start("search", "evaluate", *options, "--org", "stopped")
        until = time.monotonic() + 30
        while not _notes(stack, "stopped"):
            assert time.monotonic() < until
        running.send_signal(stop)
        _, told = running.communicate(timeout=30)
        assert running.returncode == 130, told
        assert "Traceback" not in told
        assert _notes(stack, "stopped") == []


def test_what_a_killed_run_left_is_deleted_by_the_next(stack: CommandLine, tmp_path: Path) -> None:
    """Whatever it evaluates; what a run has written that still goes on stays."""
    options = _collection(tmp_path, 1_500)
    going = stack.start("search", "evaluate", *options, "--org", "killed")
    killed = stack.start("search", "evaluate", *options, "--org", "killed")
    until = time.monotonic() + 30
    while len({note["scope"] for note in _notes(stack, "killed")}) < 2:
        assert time.monotonic() < until
    going.send_signal(signal.SIGSTOP)
    killed.kill()
    killed.communicate(timeout=30)
    outcome = stack.liftos("search", "evaluate", "--org", "killed")
    assert outcome.exit_code == 0, outcome.stderr
    assert "an evaluation left which was killed" in outcome.stderr
    assert {f"/{going.pid}/" in note["origin"] for note in _notes(stack, "killed")} == {True}
    going.send_signal(signal.SIGCONT)
    going.send_signal(signal.SIGINT)
    going.communicate(timeout=30)
    assert _notes(stack, "killed") == []


def test_what_is_stored_is_asked_for(stack: CommandLine, tmp_path: Path) -> None:
    """Questions about the organisation's own campaigns, in a table and as JSON."""
    nothing = stack.liftos("search", "evaluate", "--org", "asked-empty")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "nothing to ask for" in nothing.stderr
    rows = write_csv(tmp_path / "rows.csv", [campaign("2026-02-01", "c-77", "5")])
    assert stack.liftos("entries", "import", str(rows), "--org", "asked").exit_code == 0
    until = time.monotonic() + 30
    while not (outcome := stack.liftos("search", "evaluate", "--org", "asked")).stdout:
        assert time.monotonic() < until, outcome.stderr
    assert "recall_at_10" in outcome.stdout
    assert "filter_accuracy" in outcome.stdout
    shown = stack.liftos(
        "search", "evaluate", "--count", "4", "--mode", "lexical", "--org", "asked", "--json"
    )
    answer = json.loads(shown.stdout)
    assert answer["query_count"] == 4
    assert answer["recall_at_10"] == 1.0
    assert answer["filter_accuracy"] == 1.0


def test_what_cannot_be_measured_is_told(stack: CommandLine, tmp_path: Path) -> None:
    """Before anything is sent; and the word itself can still be searched for."""
    options = _collection(tmp_path, 3)
    (tmp_path / "qrels").write_text("snow 0 snow/0_é\n")
    outcome = stack.liftos("search", "evaluate", *options)
    assert outcome.exit_code == 2
    assert "line 1 of" in outcome.stderr
    assert "has 3 columns instead of 4" in outcome.stderr
    assert stack.liftos("search", "evaluate", *options[:4]).exit_code == 2
    assert stack.liftos("search", "evaluate", "--mode", "sideways").exit_code == 2
    by_itself = stack.liftos("search", "evaluate", "--mode", "knowledge")
    assert by_itself.exit_code == 2
    assert "--mode: choose NEURAL, LEXICAL or HYBRID" in by_itself.stderr
    word = stack.liftos("search", "--json", "--org", "asked-empty", "--", "evaluate")
    assert word.exit_code == 0
    assert json.loads(word.stdout)["hits"] == []
