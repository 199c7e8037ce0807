# /// script
# requires-python = "==3.11.*"
# dependencies = ["google-meridian==2.1.0"]
# ///
"""Load an exported data set with Meridian's own loader.

    uv run benchmarks/consumers/load_meridian.py DIR

DIR is what `liftos export --format meridian --out DIR` wrote. The settings beside the CSV are the
arguments of the loader; the numbers that it holds are compared with those of the file.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from meridian.data.load import CoordToColumns, CsvDataLoader


def main(folder: Path) -> None:
    """Load and compare."""
    settings = json.loads((folder / "meridian.json").read_text())
    columns = settings.pop("coord_to_columns")
    frame = pd.read_csv(folder / "meridian.csv")
    loaded = CsvDataLoader(
        csv_path=str(folder / "meridian.csv"),
        coord_to_columns=CoordToColumns(**columns),
        **{name: value for name, value in settings.items() if name != "organic_media_to_channel"},
    ).load()
    compared = 0
    for part, names in (
        ("media_spend", "media_spend"),
        ("media", "media"),
        ("controls", "controls"),
    ):
        if names not in columns:
            continue
        # Geos come first there, and times in order within them, as in the file.
        found = getattr(loaded, part).to_numpy().reshape(len(frame), -1)
        np.testing.assert_allclose(found, frame[columns[names]].to_numpy(np.float64), rtol=1e-6)
        compared += found.size
    np.testing.assert_allclose(
        loaded.kpi.to_numpy().ravel(), frame[columns["kpi"]].to_numpy(np.float64), rtol=1e-6
    )
    print(
        f"Meridian took {len(frame)} rows and {len(columns.get('media', []))} channels; "
        f"all {compared + len(frame)} values are those of the file"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
