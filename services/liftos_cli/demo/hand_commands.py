"""The commands that go on by hand where the demo ended."""

import shlex
import sysconfig
from pathlib import Path

from liftos_cli.demo.channels import ORG


def hand_commands(data_dir: Path, memory_address: str, *, trace_id: str, is_running: bool) -> str:
    """Return commands for a new shell, as one block that works as it is.

    Args:
        data_dir: Where the demo's data is.
        memory_address: Where Memory listens, as host:port.
        trace_id: A trace to show.
        is_running: Whether the stack runs; else the block begins with starting it.
    """
    programs = shlex.quote(sysconfig.get_path("scripts"))
    service = "liftos.memory.v1.MemoryService"
    parent = f'"parent": "orgs/{ORG}"'
    week = '"date_range": {"start_date": "2018-11-19", "end_date": "2018-11-25"}'
    lines = [
        f"export PATH={programs}:$PATH LIFTOS_DATA_DIR={shlex.quote(str(data_dir))}",
        *(() if is_running else ("liftos up --detach --ports auto",)),
        "liftos status",
        "liftos entries query --from 2018-11-01 --to 2018-11-30 --level campaign \\",
        "  --granularity week --by platform",
        "liftos search 'black friday sale with a rising budget' --limit 3",
        "liftos calendar 2018-11 --country US",
        f"liftos trace {trace_id}",
        f'TOKEN="$(liftos token --org {ORG} --role reader)"',
        'grpcurl -plaintext -H "authorization: Bearer $TOKEN" \\',
        f'  -d \'{{{parent}, "level": "ENTRY_LEVEL_OUTCOME", {week}}}\' \\',
        f"  {memory_address} {service}/QueryMetrics",
        'buf curl --protocol grpc --http2-prior-knowledge -H "authorization: Bearer $TOKEN" \\',
        f'  -d \'{{{parent}, "query": "posters in the city", "page_size": 1}}\' \\',
        f"  http://{memory_address}/{service}/SearchDocuments",
        "liftos down",
    ]
    return "\n".join(lines)
