"""`make bench`: measures, prints a table and writes build/bench.json."""

import sys
from pathlib import Path

from benchmarks import (
    cache,
    copying,
    embedding,
    exports,
    ingestion,
    insights,
    memory,
    search,
    transform,
    verification,
)
from benchmarks.results import print_table, write_json

PARTS = {
    "memory": memory.measure,
    "cache": cache.measure,
    "search": search.measure,
    "transform": transform.measure,
    "embedding": embedding.measure,
    "insights": insights.measure,
    "exports": exports.measure,
    "ingestion": ingestion.measure,
    "copying": copying.measure,
    "verification": verification.measure,
}


def main() -> int:
    """Measure the parts named on the command line, or all of them."""
    chosen = sys.argv[1:] or list(PARTS)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        print(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
        return 2
    measurements = []
    for part in chosen:
        for measurement in PARTS[part]():
            print(f"{measurement.name}: {measurement.value:.3g} ({measurement.detail})", flush=True)
            measurements.append(measurement)
    write_json(measurements, Path("build/bench.json"))
    print_table(measurements)
    return 0


if __name__ == "__main__":
    sys.exit(main())
