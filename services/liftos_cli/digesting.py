"""Digests: sums of hashes, by which what two stores hold is compared without reading it all."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import typer

from liftos.memory.v1.memory_service_pb2 import (
    DigestEntriesResponse,
    DigestRecordsResponse,
    RowDigest,
)
from liftos_cli.figures import short_name
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.output import Column, print_json, print_table
from liftos_client.pages import Pages

BucketCountOption = Annotated[
    int,
    typer.Option(
        "--buckets", min=1, max=65_536, metavar="N", help="Sum in so many parts, by their names."
    ),
]
BucketOption = Annotated[
    list[int] | None,
    typer.Option(
        "--bucket",
        min=0,
        metavar="NUMBER",
        help="List the hashes of this part instead; may be repeated.",
    ),
]

_LARGEST_PAGE = 50_000


async def print_digest(
    sums: Callable[[], Awaitable[DigestEntriesResponse | DigestRecordsResponse]],
    hashes: Callable[[Sequence[int], int], Pages[RowDigest, Any]],
    buckets: Sequence[int],
    *,
    limit: int,
    json: bool,
) -> None:
    """Print the sums of all parts, or the hashes of some.

    Args:
        sums: Asks for the sums.
        hashes: Lists the hashes of some parts, in pages of a size.
        buckets: Which parts; none asks for the sums.
        limit: At most so many hashes.
        json: Whether to print JSON.
    """
    if buckets:
        rows, more = await take(hashes(buckets, page_size(limit, _LARGEST_PAGE)), limit)
        print_list(
            "rows",
            rows,
            more=more,
            json=json,
            columns=[Column("id"), Column("hash")],
            row=lambda row: [short_name(row.name), row.hash.hex()],
        )
        return
    answer = await sums()
    if json:
        print_json(answer)
        return
    print_table(
        [
            Column("bucket", number=True),
            Column("rows", number=True),
            Column("hash_xor"),
            Column("hash_sum"),
        ],
        [
            [
                str(each.bucket),
                f"{each.row_count:,}",
                f"{each.hash_xor:016x}",
                f"{each.hash_sum:016x}",
            ]
            for each in answer.buckets
        ],
    )
