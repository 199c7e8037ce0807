"""Data sets for causal analysis, as a client has them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc

from liftos_client.errors import ServiceFaultError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SIDECAR: Final = "sidecar.json"

_CSV_FORMATS: Final = ("meridian", "robyn")
"""Formats whose consumers begin with a CSV file."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set with what its numbers are.

    Attributes:
        arrow: Its rows, an Arrow IPC stream; the same `as_of` gives the same bytes.
        sidecar: Channels, outcome, gaps, quality, events, identification report, caveats and
            settings for the consumer; docs/causal_export.md lists its fields.
    """

    arrow: bytes = field(repr=False)
    sidecar: dict[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        if hashlib.sha256(self.arrow).hexdigest() != self.sidecar.get("sha256"):
            raise ServiceFaultError(
                "the data set is not the one that its sidecar tells of; export it again",
                code=grpc.StatusCode.DATA_LOSS,
            )

    @property
    def table(self) -> "pa.Table":
        """The rows, as an Arrow table."""
        import pyarrow as pa  # noqa: PLC0415  # slow to load

        with pa.ipc.open_stream(self.arrow) as reader:
            return reader.read_all()

    @property
    def frame(self) -> "pd.DataFrame":
        """The rows, as a frame of plain numbers; days are datetime64."""
        import pyarrow as pa  # noqa: PLC0415  # as above
        import pyarrow.compute as pc  # noqa: PLC0415

        table = self.table
        for place, column in enumerate(table.schema):
            if pa.types.is_date(column.type):
                moments = pc.cast(table.column(place), pa.timestamp("us"))
                table = table.set_column(place, column.name, moments)
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def write(self, directory: str | Path) -> list[Path]:
        """Write the data set to a directory, which is made where it is missing.

        `FORMAT.parquet` has the rows, `sidecar.json` the sidecar with the SHA-256 of each other
        file; beside them come the consumer's settings, and a CSV where the consumer begins with
        one. The sidecar is written last: where it stands, all others do.

        Returns:
            The files, the sidecar last.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        hashes: dict[str, str] = {}
        files = []
        for name, content in self._files():
            hashes[name] = hashlib.sha256(content).hexdigest()
            files.append(_write(folder / name, content))
        told = {**self.sidecar, "files": hashes}
        text = json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False)
        return [*files, _write(folder / SIDECAR, f"{text}\n".encode())]

    def _files(self) -> Iterator[tuple[str, bytes]]:
        import pyarrow as pa  # noqa: PLC0415  # as above
        from pyarrow import csv, parquet  # noqa: PLC0415

        name = str(self.sidecar["format"])
        sink = pa.BufferOutputStream()
        parquet.write_table(self.table, sink)
        yield f"{name}.parquet", sink.getvalue().to_pybytes()
        if name in _CSV_FORMATS:
            sink = pa.BufferOutputStream()
            csv.write_csv(self.table, sink)
            yield f"{name}.csv", sink.getvalue().to_pybytes()
        for snippet, text in self.sidecar["snippets"].items():
            yield snippet, text.encode()
        if name == "robyn":
            yield "holidays.csv", self._holidays().encode()

    def _holidays(self) -> str:
        """Return the holidays as Robyn's frame: ds, holiday, country, year."""
        lines = ["ds,holiday,country,year"]
        for day in self.sidecar["holidays"]:
            quoted = '"' + day["name"].replace('"', '""') + '"'
            lines.append(f"{day['date']},{quoted},{day['region_code'][:2]},{day['date'][:4]}")
        return "\n".join(lines) + "\n"


def _write(path: Path, content: bytes) -> Path:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    return part.replace(path)
