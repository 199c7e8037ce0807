# /// script
# requires-python = "==3.11.*"
# dependencies = ["gensim==4.4.0"]
# ///
"""Write a judged collection that `liftos search evaluate` reads, from what gensim ships.

    uv run benchmarks/judged/lee_collection.py odd DIR

It has 50 news texts of 45 to 126 words and, for each pair, the mean of what eight to twelve people
said about their likeness on a scale of 1 to 5 (Lee, Pincombe and Welsh, "An empirical evaluation of
models of text document similarity", CogSci 2005). Half of the texts are asked for, with the other
half to be found, so that nothing is found by itself and every pair is judged. Relevance is the
rounded mean less 1: 0 for what has nothing to do with the query, 4 for the most alike.
"""

import json
import sys
from importlib.metadata import files
from pathlib import Path

_TEXTS = "gensim/test/test_data/lee.cor"
_LIKENESS = "gensim/test/test_data/similarities0-1.txt"
_HIGHEST = 5


def main(half: str, folder: Path) -> None:
    """Write docs.jsonl, queries.tsv and judged.qrels; `half` says which texts are asked for."""
    texts = _read(_TEXTS).splitlines()
    rows = [list(map(float, line.split())) for line in _read(_LIKENESS).splitlines()]
    if len(texts) != len(rows) or any(len(row) != len(texts) for row in rows):
        raise SystemExit("the texts and the judgements do not fit together")
    asked = range(["even", "odd"].index(half), len(texts), 2)
    found = [place for place in range(len(texts)) if place not in asked]
    folder.mkdir(parents=True, exist_ok=True)
    documents = [json.dumps({"_id": f"lee-{place}", "text": texts[place]}) for place in found]
    queries = [f"{place}\t{' '.join(texts[place].split())}" for place in asked]
    judged = [
        # The file has each pair once, and 0 in its other place.
        f"{query} 0 lee-{place} {round(_HIGHEST * (rows[query][place] + rows[place][query])) - 1}"
        for query in asked
        for place in found
    ]
    for name, lines in (
        ("docs.jsonl", documents),
        ("queries.tsv", queries),
        ("judged.qrels", judged),
    ):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read(name: str) -> str:
    path = next(each for each in files("gensim") or () if str(each) == name)
    return Path(str(path.locate())).read_text(encoding="latin-1")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
