"""`make chaos`: runs full of faults, prints a table and writes build/chaos.json."""

import argparse
import asyncio
import sys
from pathlib import Path

from chaos import copy, ingestion
from chaos.results import Tally, print_table, write_json

PARTS = {"copy": copy.run, "ingestion": ingestion.run}


def main() -> int:
    """Run the part that is named whole, or a share of each; 1 where anything is wrong after it."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, help="this part alone, and whole")
    parser.add_argument("--seed", type=int, default=1, help="of the first plan")
    parser.add_argument(
        "--minutes", type=float, default=None, help="of each part, in place of its share"
    )
    arguments = parser.parse_args()
    chosen = [arguments.part] if arguments.part else list(PARTS)
    is_whole = arguments.part is not None
    tallies: list[Tally] = []
    for part in chosen:
        tallies += asyncio.run(
            PARTS[part](seed=arguments.seed, is_whole=is_whole, minutes=arguments.minutes)
        )
    write_json(tallies, Path("build/chaos.json"))
    print_table(tallies)
    return 0 if all(tally.holds for tally in tallies) else 1


if __name__ == "__main__":
    sys.exit(main())
