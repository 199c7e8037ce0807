"""What the demo claims of the Causal module follows from what it found."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from liftos.causal.v1.causal_pb2 import (
    AttributionResult,
    ChannelAttribution,
    Interval,
    ModelPerformance,
)
from liftos_cli.demo.causal_module import (
    CausalModule,
    LoadCount,
    RunningLoad,
    checks_of_module,
    print_module,
)


def attribution(*shares: float) -> AttributionResult:
    """Credit of channels."""
    return AttributionResult(
        currency_code="USD",
        performance=ModelPerformance(r_squared=0.5),
        channels=[
            ChannelAttribution(
                channel=f"channel {place}",
                share=Interval(value=share, low=0.1, high=0.9),
                revenue_micros=1_500_000_000,
                spend_micros=500_000_000,
                roas=3.0,
            )
            for place, share in enumerate(shares)
        ],
    )


@pytest.fixture
def seen() -> CausalModule:
    """A module with which all is well."""
    return CausalModule(
        load=LoadCount(
            calls={"ListModels": 60, "RunExperiment": 2},
            failures={},
            seconds=6.0,
            acknowledged=frozenset({"orgs/causal/experiments/a", "orgs/causal/experiments/b"}),
            writes=2,
        ),
        found=frozenset(
            {
                "orgs/causal/experiments/a",
                "orgs/causal/experiments/b",
                "orgs/causal/experiments/earlier",
            }
        ),
        own=attribution(0.75, 0.25),
        on_core=attribution(1.0),
    )


def failed(seen: CausalModule) -> list[str]:
    """Claims that do not hold."""
    return [check.claim for check in checks_of_module(seen) if not check.holds]


def test_all_is_well(seen: CausalModule) -> None:
    """Every claim holds, and says what was found."""
    assert failed(seen) == []
    assert [check.found for check in checks_of_module(seen)] == [
        "62 calls in 6.0 s",
        "2 of 2 writes are experiments, 0 missing",
        "2 channels, 1 channels",
    ]


def test_what_is_wrong_is_told_apart(seen: CausalModule) -> None:
    """A failed call, a lost write and a side without an answer fail the claim about each."""
    refused = replace(seen.load, failures={"OptimizeBudget UNAVAILABLE": 1})
    assert failed(replace(seen, load=refused)) == [
        "the Causal module answers all calls of its load"
    ]
    lost = replace(seen, found=frozenset({"orgs/causal/experiments/a"}))
    assert failed(lost) == ["the Causal module has every experiment that it acknowledged"]
    for on_core in (attribution(), attribution(0.5, 0.4)):
        assert failed(replace(seen, on_core=on_core)) == [
            "the Causal module gives credit to channels, from its own store and from Core"
        ]
    silent = replace(seen.load, calls={}, acknowledged=frozenset(), writes=0)
    assert len(failed(replace(seen, load=silent))) == 2


def test_credit_is_shown_side_by_side(
    seen: CausalModule, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shares with their intervals, and money in its currency."""
    print_module(seen)
    shown = capsys.readouterr().out
    assert "62 calls of 2 methods in 6.0 s, 2 writes acknowledged." in shown
    assert "75.0%  10.0% .. 90.0%  1,500 USD  500 USD" in shown


async def test_a_half_written_line_is_no_write(tmp_path: Path) -> None:
    """While the load writes on, what it has acknowledged is each whole line."""
    journal = tmp_path / "journal"
    process = await asyncio.create_subprocess_exec("true")
    load = RunningLoad(process, journal)
    await process.wait()
    assert load.acknowledged() == ()
    line = json.dumps({"kind": "experiment", "name": "orgs/causal/experiments/a", "version": 1})
    journal.write_text(f'{line}\n{{"kind": "exp')
    assert [each["name"] for each in load.acknowledged()] == ["orgs/causal/experiments/a"]
