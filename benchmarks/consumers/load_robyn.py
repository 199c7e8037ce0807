# /// script
# requires-python = "==3.11.*"
# dependencies = ["robynpy==0.3.6", "pandas<3", "numpy<2"]
#
# [tool.uv]
# override-dependencies = ["rpy2; sys_platform == 'never'", "pandas<3", "numpy<2"]
# ///
"""Hand an exported data set to the validator of Robyn for Python.

    uv run benchmarks/consumers/load_robyn.py DIR

DIR is what `liftos export --format robyn --out DIR` wrote. R is not needed: rpy2 is left out, which
only the fitting of models uses.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
from robyn.data.entities.enums import DependentVarType
from robyn.data.entities.mmmdata import MMMData
from robyn.data.validation.mmmdata_validation import MMMDataValidation


def main(folder: Path) -> None:
    """Validate; every check has to pass."""
    settings = json.loads((folder / "robyn.json").read_text())
    frame = pd.read_csv(folder / "robyn.csv", parse_dates=["DATE"])
    names = ("dep_var", "date_var", "context_vars", "paid_media_spends", "paid_media_vars")
    spec = MMMData.MMMDataSpec(
        **{name: settings[name] for name in (*names, "organic_vars")},
        dep_var_type=DependentVarType(settings["dep_var_type"]),
        window_start=datetime.fromisoformat(settings["window_start"]),
        window_end=datetime.fromisoformat(settings["window_end"]),
    )
    results = MMMDataValidation(MMMData(data=frame, mmmdata_spec=spec)).validate()
    refused = [result.error_message for result in results if not result.status]
    assert not refused, refused
    print(
        f"Robyn's validator took {len(frame)} rows and {len(settings['paid_media_spends'])} paid "
        f"channels; all {len(results)} checks passed"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
