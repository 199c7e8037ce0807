"""`liftos cache`."""

from liftos_cli.lazy_group import command_app
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.output import Column, print_json, print_table

app = command_app(summary="See how the cache does.")


@app.callback()
def cache() -> None:
    """See how the cache does."""
    # Of a single command typer would otherwise make no group.


@app.command(epilog="Example: liftos cache stats --json")
@calls_memory
async def stats(call: MemoryCall) -> None:
    """Show hits and misses of each tier, and how long a look-up takes, since the server started."""
    tiers = await call.memory.get_cache_stats()
    if call.json:
        print_json({"tiers": list(tiers)})
        return
    titles = ("hits", "misses", "errors", "hit rate", "p50", "p99", "holds", "at most")
    print_table(
        [Column("tier"), *(Column(title, number=True) for title in titles)],
        [
            [
                tier.tier,
                f"{tier.hit_count:,}",
                f"{tier.miss_count:,}",
                f"{tier.error_count:,}",
                _share(tier.hit_count, tier.hit_count + tier.miss_count + tier.error_count),
                _milliseconds(tier.latency_p50_seconds),
                _milliseconds(tier.latency_p99_seconds),
                _size(tier.size_bytes) if tier.HasField("size_bytes") else "unknown",
                _size(tier.maximum_bytes),
            ]
            for tier in tiers
        ],
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1_000:.3g} ms" if seconds else "-"


def _size(count: int) -> str:
    return f"{count / 1024:,.1f} KiB" if count < 1024 * 1024 else f"{count / 1024**2:,.1f} MiB"
