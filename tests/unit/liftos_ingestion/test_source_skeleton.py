"""The skeleton of a source, the rules that it is held to, and how plug-ins are found."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import liftos_ingestion
from liftos_ingestion.adapters.sources.plugins import GROUP, load_plugins, source_problems
from liftos_ingestion.templates import SkeletonNameError, write_skeleton
from liftos_ingestion.testing.fake_platform import FakePlatform
from liftos_ingestion.testing.source_conformance import (
    PlatformFault,
    SourceConformance,
    SourceUnderTest,
)

_ROOTS = [str(Path(liftos_ingestion.__file__).parents[1]), str(Path("gen").resolve())]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Writes a skeleton, changes its source, and loads it."""
    loaded: list[str] = []

    def load(name: str, *changes: tuple[str, str]) -> ModuleType:
        path = write_skeleton(name, tmp_path / name)[2]
        monkeypatch.syspath_prepend(tmp_path / name)
        content = path.read_text()
        for old, new in changes:
            assert old in content
            content = content.replace(old, new)
        path.write_text(content)
        loaded.append(name)
        return importlib.import_module(f"{name}.source")

    yield load
    for name in loaded:
        for module in [it for it in sys.modules if it.partition(".")[0] == name]:
            del sys.modules[module]


def test_the_skeleton_passes_the_suite_as_it_is(tmp_path: Path) -> None:
    """What is written is a package whose own tests pass, with every warning an error."""
    written = write_skeleton("acme_ads", tmp_path / "new")
    assert [str(it.relative_to(tmp_path / "new")) for it in written] == [
        "pyproject.toml",
        "acme_ads/__init__.py",
        "acme_ads/source.py",
        "tests/test_source.py",
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path / "new",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_ROOTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "17 passed" in ran.stdout


@pytest.mark.parametrize("name", ["", "Acme", "1a", "a-b", "a.b", "../a", "a" * 64, "a\n"])
def test_names_that_no_source_can_have_write_nothing(tmp_path: Path, name: str) -> None:
    """A name is the platform of entries, and never a path."""
    with pytest.raises(SkeletonNameError):
        write_skeleton(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    """A second skeleton in one place changes no file."""
    write_skeleton("acme_ads", tmp_path)
    (tmp_path / "acme_ads" / "source.py").write_text("mine")
    with pytest.raises(FileExistsError, match="there already"):
        write_skeleton("acme_ads", tmp_path)
    assert (tmp_path / "acme_ads" / "source.py").read_text() == "mine"


# --- The suite notices what breaks its rules ---


_SWALLOWED = (
    "        if failure is not None:\n            raise ReadingError(failure)\n",
    "        if failure is not None:\n            return {'rows': [], 'next': None}\n",
)
_BROKEN: dict[str, tuple[str, tuple[str, str]]] = {
    "only_the_first_page": (
        "test_reading_can_be_repeated_and_cut",
        ('if not answer["next"]:', "if True:"),
    ),
    "pages_without_end": (
        "test_rows_become_entries_of_what_was_asked",
        ('params = {**params, "cursor": answer["next"]}', 'params = {**params, "cursor": "1"}'),
    ),
    "days_that_nobody_asked_for": (
        "test_reading_can_be_repeated_and_cut",
        ("request.end_date.isoformat()", '"2026-12-31"'),
    ),
    "a_row_that_does_not_map": (
        "test_rows_become_entries_of_what_was_asked",
        ('"unit": "units"', '"unit": "micros"'),
    ),
    "a_write": ("test_nothing_is_written_to_the_platform", ('call("GET"', 'call("POST"')),
    "limits_of_others": (
        "test_every_call_asks_for_leave",
        ('app_key(org, PLATFORM, "app")', 'app_key("other", PLATFORM, "app")'),
    ),
    "a_limit_that_is_swallowed": (
        "test_a_limit_stops_it_before_the_call",
        (
            'answer = await self._http.call("GET", path, limits=self._limits, params=params)',
            (
                "from liftos_ingestion.domain.failures import NotReadyError\n        try:\n"
                '            answer = await self._http.call("GET", path, limits=self._limits,'
                " params=params)\n        except NotReadyError:\n"
                '            return {"rows": [], "next": None}'
            ),
        ),
    ),
    "a_field_that_is_not_missed": (
        "test_a_credential_that_is_wrong_is_told",
        ('if "token" not in credential:', 'if "other" in credential:'),
    ),
    "a_mapping_of_another_platform": (
        "test_it_says_what_it_is",
        ("platform = PLATFORM", 'platform = "other"'),
    ),
    "an_account_without_a_zone": (
        "test_accounts_can_be_planned_with",
        ('it["time_zone"]', '"Berlin"'),
    ),
}


@pytest.fixture
def subject_of(package: Callable[..., ModuleType]) -> Iterator[Callable[..., SourceUnderTest]]:
    """A skeleton with changes, and its platform."""
    opened: list[FakePlatform] = []

    def make(name: str, *changes: tuple[str, str]) -> SourceUnderTest:
        module = package(name, *changes)
        tests: dict[str, Any] = {}
        path = Path(str(module.__file__)).parents[1] / "tests" / "test_source.py"
        exec(compile(path.read_text(), str(path), "exec"), tests)
        platform = FakePlatform(tests["answer"])
        opened.append(platform.__enter__())
        source = next(it for key, it in vars(module).items() if key.endswith("Source"))
        return SourceUnderTest(
            source=source(platform.url),
            credential={"token": tests["TOKEN"]},
            account_id="1",
            start_date=date(2026, 11, 1),
            end_date=date(2026, 11, 2),
            calls=lambda: platform.calls,
            broken=platform.broken,
        )

    yield make
    for platform in opened:
        platform.__exit__(None, None, None)


@pytest.mark.parametrize("name", list(_BROKEN))
async def test_the_suite_notices_a_source_that_breaks_a_rule(
    subject_of: Callable[..., SourceUnderTest], name: str
) -> None:
    """Each rule fails for a source that breaks it and for no other reason."""
    rule, change = _BROKEN[name]
    subject = subject_of(name, change)
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        await getattr(SourceConformance(), rule)(subject)
    assert not isinstance(caught.value, TypeError), caught.value


@pytest.mark.parametrize("fault", [PlatformFault.UNAVAILABLE, PlatformFault.LIMITED])
async def test_the_suite_notices_faults_that_are_swallowed(
    subject_of: Callable[..., SourceUnderTest],
    fault: PlatformFault,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No answer is not an empty answer."""
    subject = subject_of("swallowing", _SWALLOWED)
    with pytest.raises(AssertionError, match="was not noticed"):
        await SourceConformance().test_faults_have_a_class_and_tell_no_secret(
            subject, fault, caplog, capsys
        )


async def test_the_suite_notices_a_secret_in_an_error(
    subject_of: Callable[..., SourceUnderTest],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A token in a message is found."""
    subject = subject_of(
        "telling",
        (
            "            raise ReadingError(failure)",
            (
                "            token = self._http._client.headers['authorization']\n"
                "            raise ReadingError(Failure(failure.error_class, token))"
            ),
        ),
    )
    with pytest.raises(AssertionError, match="is told in an error"):
        await SourceConformance().test_faults_have_a_class_and_tell_no_secret(
            subject, PlatformFault.UNAVAILABLE, caplog, capsys
        )


# --- Plug-ins ---


def test_plugins_are_found_and_bad_ones_left_out(package: Callable[..., ModuleType]) -> None:
    """One that cannot be loaded, lies about itself or takes a name keeps no other from reading."""
    package("good_ads")
    package("bad_ads", ('date_bases=("INTERACTION",)', "date_bases=()"))
    points = [
        EntryPoint("good_ads", "good_ads.source:create", GROUP),
        EntryPoint("good_ads", "good_ads.source:create", GROUP),
        EntryPoint("bad_ads", "bad_ads.source:create", GROUP),
        EntryPoint("other_name", "good_ads.source:create", GROUP),
        EntryPoint("absent", "absent.source:create", GROUP),
        EntryPoint("number", "math:pi", GROUP),
    ]
    assert list(load_plugins(["meta"], points)) == ["good_ads"]
    assert load_plugins(["good_ads"], points) == {}


def test_what_a_source_says_of_itself_is_checked(package: Callable[..., ModuleType]) -> None:
    """Every thing that is wrong is named."""
    module = package(
        "odd_ads",
        ('display_name = "Odd Ads"', 'display_name = ""'),
        ('levels=("ACCOUNT", "CAMPAIGN")', 'levels=("KEYWORD",)'),
        ("days_per_read=31", "days_per_read=0"),
        (
            'settings_schema: JsonObject = {"type": "object"',
            'settings_schema: JsonObject = {"type": "thing"',
        ),
    )
    problems = " | ".join(source_problems(module.OddAdsSource("https://x.example")))
    for words in (
        "display_name",
        "settings_schema is no JSON Schema",
        "levels",
        "takes one",
        "totals",
    ):
        assert words in problems
