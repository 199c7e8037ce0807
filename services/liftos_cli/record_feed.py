"""`watch` and `digest` of artifacts and of notes, which are alike."""

from typing import Annotated

import typer

from liftos_cli.digesting import BucketCountOption, BucketOption, print_digest
from liftos_cli.figures import enum_word_of
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.options import LimitOption, MaximumChangesOption, ResumeOption
from liftos_cli.output import print_json_line

_ScopeOption = Annotated[str, typer.Option(help="Only those of this scope; all by default.")]


def add_feed_commands(app: typer.Typer, *, singular: str, plural: str) -> None:
    """Add `watch` and `digest` to the commands of a collection.

    Args:
        app: The commands.
        singular: What one record is called.
        plural: What several are called, which is the collection's word too.
    """
    collection = plural.upper()

    @app.command(
        help=f"Follow changes as JSON lines, each with the {singular} before and after it, until"
        " Ctrl-C.",
        epilog=f"Example: liftos {plural} watch --scope planning | jq .after",
    )
    @calls_memory
    async def watch(
        call: MemoryCall,
        *,
        scope: _ScopeOption = "",
        resume: ResumeOption = "",
        limit: MaximumChangesOption = None,
    ) -> None:
        seen = 0
        async for answer in call.memory.watch_records(collection, scope=scope, resume_token=resume):
            for change in answer.changes:
                line: dict[str, object] = {
                    "record": change.record,
                    "kind": enum_word_of(change, "kind"),
                }
                for side in ("before", "after"):
                    name = f"{singular}_{side}"
                    there = change.HasField(name)  # type: ignore[arg-type]  # of its collection
                    line[side] = getattr(change, name) if there else None
                line |= {
                    "origin": change.origin,
                    "write_token": change.write_token,
                    "commit_time": answer.commit_time.ToJsonString(),
                    # Changes of one commit may come in several answers, each with its own token.
                    "resume_token": answer.resume_token,
                }
                print_json_line(line)
                seen += 1
                if seen == limit:
                    return

    @app.command(
        help=f"Show sums of the hashes of {plural}: two stores with equal sums hold the same.",
        epilog=f"Example: liftos {plural} digest --buckets 16",
    )
    @calls_memory
    async def digest(
        call: MemoryCall,
        *,
        scope: _ScopeOption = "",
        bucket_count: BucketCountOption = 1,
        buckets: BucketOption = None,
        limit: LimitOption = 100,
    ) -> None:
        memory = call.memory
        await print_digest(
            lambda: memory.digest_records(collection, bucket_count, scope=scope),
            lambda chosen, size: memory.list_record_digests(
                collection, bucket_count, chosen, scope=scope, page_size=size
            ),
            buckets or [],
            limit=limit,
            json=call.json,
        )
