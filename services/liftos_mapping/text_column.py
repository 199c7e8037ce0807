"""Text that came as an Arrow column, kept as one so that whole columns convert at once."""

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


class TextColumn(Sequence[object]):
    """A value per row, text or None, for whoever looks at one; an Arrow array for the rest.

    Attributes:
        array: The values, a `pa.StringArray`.
    """

    __slots__ = ("array",)

    def __init__(self, array: pa.StringArray) -> None:
        self.array = array

    def is_absent(self) -> pa.BooleanArray:
        """For each row whether its value stands for nothing: null or blank."""
        return pc.fill_null(pc.or_(pc.equal(self.array, ""), pc.utf8_is_space(self.array)), True)

    def distinct(self) -> tuple[list[object], npt.NDArray[np.int64]]:
        """Return the distinct values, None for null, and for each row the place of its own."""
        encoded = self.array.dictionary_encode(null_encoding="encode")
        places: npt.NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False)
        return encoded.dictionary.to_pylist(), places

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> object: ...

    @overload
    def __getitem__(self, index: slice) -> "TextColumn": ...

    def __getitem__(self, index: int | slice) -> "object | TextColumn":
        if isinstance(index, slice):
            rows = np.arange(len(self.array))[index]
            return TextColumn(self.array.take(pa.array(rows)))
        value: object = self.array[index].as_py()
        return value
