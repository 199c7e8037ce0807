# /// script
# requires-python = "==3.11.*"
# dependencies = ["pymc-marketing==0.19.2", "pyarrow>=26"]
# ///
"""Build pymc-marketing's model of an exported data set, and draw from its prior.

    uv run benchmarks/consumers/load_pymc.py DIR

DIR is what `liftos export --format pymc --out DIR` wrote. The settings beside the data are read by
pymc-marketing's own builder; the numbers inside the model are compared with those of the file.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from pymc_marketing.mmm.builders.yaml import build_mmm_from_yaml

_DRAWS = 20


def main(folder: Path) -> None:
    """Load, compare, draw."""
    sidecar = json.loads((folder / "sidecar.json").read_text())
    frame = pd.read_parquet(folder / "pymc.parquet")
    frame["date"] = pd.to_datetime(frame["date"])
    target = frame.pop(sidecar["kpi"]["column"])
    model = build_mmm_from_yaml(folder / "pymc.yml", X=frame, y=target)
    channels = model.channel_columns
    built = model.xarray_dataset["_channel"].transpose("date", ..., "channel").to_numpy()
    given = frame[channels].to_numpy(np.float64)
    if sidecar["unit"]:
        units = len(sidecar["units"])
        given = given.reshape(units, -1, len(channels)).transpose(1, 0, 2)
    np.testing.assert_array_equal(built, given)
    prior = model.sample_prior_predictive(frame, target, samples=_DRAWS, random_seed=1)
    drawn = prior["y"] if "y" in prior else next(iter(prior.data_vars.values()))
    assert np.isfinite(drawn.to_numpy()).all(), "the prior has no finite values"
    print(
        f"pymc-marketing took {len(frame)} rows, {len(channels)} channels and "
        f"{len(model.control_columns or [])} controls; all {built.size} values equal"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
