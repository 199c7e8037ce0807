"""The commands that go on by hand where the demo ended."""

import json
import shlex
import sysconfig
from pathlib import Path
from typing import Final

from liftos_cli.demo.channels import ORG

_SERVICE: Final = "liftos.memory.v1.MemoryService"
_SUMS: Final = {
    "parent": f"orgs/{ORG}",
    "level": "ENTRY_LEVEL_OUTCOME",
    "date_range": {"start_date": "2018-11-19", "end_date": "2018-11-25"},
}
_SEARCH: Final = {
    "parent": f"orgs/{ORG}",
    "query": "posters in the city",
    "kinds": ["DOCUMENT_KIND_PROFILE"],
    "page_size": 1,
}


def hand_commands(data_dir: Path, memory_address: str, *, trace_id: str, is_running: bool) -> str:
    """Return commands for a new shell, as one block that works as it is.

    Args:
        data_dir: Where the demo's data is.
        memory_address: Where Memory listens, as host:port.
        trace_id: A trace to show.
        is_running: Whether the stack runs; else the block begins with starting it, on the same
            ports as before.
    """
    programs = shlex.quote(sysconfig.get_path("scripts"))
    header = '-H "authorization: Bearer $TOKEN"'
    lines = (
        f"export PATH={programs}:$PATH LIFTOS_DATA_DIR={shlex.quote(str(data_dir))}",
        *(() if is_running else ("liftos up --detach --ports auto",)),
        "liftos status",
        "liftos entries query --from 2018-11-01 --to 2018-11-30 --level campaign \\",
        "  --granularity week --by platform",
        "liftos search 'presents for christmas' --kind profile --limit 3",
        "liftos search 'large campaigns with rising spend' --mode conceptual --limit 3",
        "liftos search evaluate --count 10",
        "liftos insights list --limit 3",
        "liftos notes list",
        "liftos context 'how did the holiday sale go?' --from 2018-11-01 --to 2018-12-31",
        "liftos calendar 2018-11 --country US",
        f"liftos trace {trace_id}",
        f'TOKEN="$(liftos token --org {ORG} --role reader)"',
        f"grpcurl -plaintext {header} \\",
        f"  -d {shlex.quote(json.dumps(_SUMS))} \\",
        f"  {memory_address} {_SERVICE}/QueryMetrics",
        f"buf curl --protocol grpc --http2-prior-knowledge {header} \\",
        f"  -d {shlex.quote(json.dumps(_SEARCH))} \\",
        f"  http://{memory_address}/{_SERVICE}/SearchDocuments",
        "liftos down",
    )
    return "\n".join(lines)
