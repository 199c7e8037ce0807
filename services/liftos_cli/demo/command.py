"""`liftos demo`."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from liftos_cli.demo.causal_module import MODULE_ORG, checks_of_module, use_module
from liftos_cli.demo.channels import ORG
from liftos_cli.demo.hand_commands import hand_commands
from liftos_cli.demo.movements import Check
from liftos_cli.demo.platforms import (
    SIMULATED_ORG,
    Control,
    has_succeeded,
    read_platforms,
)
from liftos_cli.demo.report import findings_as_json, print_checks, print_findings, print_timings
from liftos_cli.demo.stages import Stages
from liftos_cli.demo.walk import Findings, walk
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import service_address, stack_errors, token_secret
from liftos_cli.options import JsonOption
from liftos_cli.output import print_json, say
from liftos_cli.service_call import MEMORY, server_errors
from liftos_cli.tokens import issue_token
from liftos_client.connection import connect
from liftos_local import stack
from liftos_local.directory import DataDirectory
from liftos_local.plan import MODULE_STORES, PLATFORMS, SERVICES, STORES, causal_services
from liftos_local.ports import PortPlan
from liftos_local.state import ProcessState, StackState

app = command_app()

_TOKEN_SECONDS: Final = 3_600
_CATALOGUE: Final = {PLATFORMS.name: PLATFORMS, **SERVICES}
_PROCESS_COUNT: Final = sum(
    map(len, (STORES, _CATALOGUE, MODULE_STORES, causal_services(MODULE_ORG)))
)


@app.command(epilog="Example: liftos demo --data-dir /tmp/liftos-demo --keep")
def demo(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Where the stack keeps everything; by default a new temporary directory.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Let the stack run on at the end.")] = False,
    json: JsonOption = False,
) -> None:
    """Take a public data set through the whole system, and prove that nothing was lost.

    Starts LiftOS on free ports, loads 208 weeks of marketing numbers, compares every one of them
    with the file, searches, and shows the trace of one request; then reads a week of three
    simulated platforms and compares it with what they know, and asks the Causal module, which is
    under load on stores of its own. Ends with commands to go on by hand; the data stays. The exit
    code is 1 if anything does not hold.
    """
    directory = (
        Path(tempfile.mkdtemp(prefix="liftos-demo-")) if data_dir is None else data_dir.absolute()
    )
    say(f"The data goes to {directory}.")
    began = time.monotonic()
    stages = Stages()
    with stack_errors(), server_errors(MEMORY), _running_stack(directory, stages, keep=keep):
        address = service_address(directory, MEMORY.word)
        assert address is not None, "the stack is healthy"
        findings = asyncio.run(_walk(directory, address, stages))
    if not keep:
        findings.checks.append(_nothing_runs(directory))
    commands = hand_commands(directory, address, trace_id=findings.trace.trace_id, is_running=keep)
    seconds = stages.seconds | {"All": time.monotonic() - began}
    if json:
        print_json(
            {
                "data_dir": str(directory),
                **findings_as_json(findings),
                "seconds": {name: round(value, 3) for name, value in seconds.items()},
                "commands": commands,
            }
        )
    else:
        print_findings(findings)
        print_timings(seconds)
        print_checks(findings.checks)
        state = "The stack runs on" if keep else "The stack has stopped and its data stays"
        print(f"\n{state} in {directory}. To go on by hand, in any shell:\n\n{commands}\n")
    fail_unless_all_hold(findings.checks)


async def _walk(directory: Path, address: str, stages: Stages) -> Findings:
    secret = token_secret(directory)
    assert secret is not None, "the stack has started"
    token = _token(secret, ORG)
    async with connect(address, token=token) as client:
        findings = await walk(client, directory, stages)
    addresses = stack.status(directory).addresses
    async with connect(
        address, token=_token(secret, SIMULATED_ORG), ingestion_target=addresses["ingestion"]
    ) as client:
        findings.reads = await read_platforms(
            client, Control(addresses["platforms-control"]), stages
        )
    findings.checks += [
        Check(
            f"{read.platform}: what is stored is what the platform knows",
            has_succeeded(read),
            f"{read.compared_count} sums compared, {len(read.differences)} differences",
        )
        for read in findings.reads
    ]
    weeks = findings.file.weeks
    findings.causal = await use_module(
        addresses,
        _token(secret, MODULE_ORG),
        public=(ORG, token, weeks[0], weeks[-1] + timedelta(days=6)),
        journal=DataDirectory(directory).run / "acknowledged.jsonl",
        stages=stages,
    )
    findings.checks += checks_of_module(findings.causal)
    return findings


def _token(secret: str, org: str) -> str:
    return issue_token(
        secret,
        org=org,
        roles=("admin",),
        subject="liftos-demo",
        lifetime_seconds=_TOKEN_SECONDS,
    )


@contextmanager
def _running_stack(directory: Path, stages: Stages, *, keep: bool) -> Iterator[None]:
    """Run a stack; with `keep` it is stopped only where the demo could not go on."""
    healthy: set[str] = set()
    with stages.stage("Start", total=_PROCESS_COUNT, unit="processes healthy") as advance:

        def tell(process: str, state: ProcessState | str) -> None:
            if state == ProcessState.HEALTHY:
                healthy.add(process)
            advance(len(healthy))

        if keep:
            stack.up(
                directory,
                ports=PortPlan.automatic(),
                services=tuple(_CATALOGUE),
                catalogue=_CATALOGUE,
                module_org=MODULE_ORG,
                on_progress=tell,
            )
        else:
            running = stack.start(
                directory,
                ports=PortPlan.automatic(),
                services=tuple(_CATALOGUE),
                catalogue=_CATALOGUE,
                module_org=MODULE_ORG,
                on_progress=tell,
            )
    if not keep:
        with running:
            yield
            with stages.stage("Stop"):
                running.stop()
        return
    try:
        yield
    except BaseException:
        stack.down(directory)
        raise


def _nothing_runs(directory: Path) -> Check:
    status = stack.status(directory)
    alive = [process.name for process in status.processes if process.pid is not None]
    stopped = status.state is StackState.STOPPED and not alive
    return Check("nothing is left running", stopped, ", ".join(alive) or status.state)


def fail_unless_all_hold(checks: list[Check]) -> None:
    """End with 0 where every claim holds.

    Raises:
        CommandError: One does not; exit code 1.
    """
    failed = [check for check in checks if not check.holds]
    if failed:
        raise CommandError(
            f"the demo did not prove what it has to: {failed[0].claim}",
            details=[f"{check.claim}: {check.found}" for check in failed],
            advice="report this output, with the log files of the data directory",
            exit_code=ExitCode.NEGATIVE,
        )
    say("All of it holds.")
