"""What a plug-in source takes from its skeleton to green, counted on a kept one."""

import os
import re
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path

import liftos_ingestion
from liftos_ingestion.templates import write_skeleton

_KEPT = Path(__file__).parent / "plug_in"
_ROOTS = [str(Path(liftos_ingestion.__file__).parents[1]), str(Path("gen").resolve())]
_FILES = {"source.py.txt": "shop_ads/source.py", "test_source.py.txt": "tests/test_source.py"}
_PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"


def lines_written(before: str, after: str) -> int:
    """How many lines of the later text are not in the earlier one at that place."""
    matcher = SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return sum(there - here for word, _, _, here, there in matcher.get_opcodes() if word != "equal")


def test_a_source_takes_at_most_half_of_the_lines_and_files(tmp_path: Path) -> None:
    """A source of another API, with one level more, is green after few changes in two files."""
    paths = write_skeleton("shop_ads", tmp_path)
    before = {path: path.read_text() for path in paths}
    for kept, path in _FILES.items():
        (tmp_path / path).write_text((_KEPT / kept).read_text())
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_ROOTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    after = {path: path.read_text() for path in paths}
    touched = [path for path in paths if before[path] != after[path]]
    written = sum(lines_written(before[path], after[path]) for path in paths)
    # By hand every line of the package would be written, and all that the suite checks besides.
    by_hand = sum(len(text.splitlines()) for text in after.values())
    assert len(touched) / len(paths) <= 0.5
    assert written / by_hand <= 0.5
    found = re.search(r"\| (\d+) of (\d+) lines \((\d+) %\) \| (\d) of (\d) \|", _PAGE.read_text())
    assert found is not None, "docs/benchmarks.md has no figure of the plug-in"
    assert [int(it) for it in found.groups()] == [
        written,
        by_hand,
        round(100 * written / by_hand),
        len(touched),
        len(paths),
    ]
