"""Arrow arrays of Python values. pyarrow's own converters would import pandas, which takes 43 MB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pyarrow as pa


def text_array(values: Sequence[str | None]) -> pa.Array:
    """Texts as an array. Raises TypeError if there is anything else."""
    validity, texts = None, cast("Sequence[str]", values)
    try:
        joined = "".join(texts)
    except TypeError:
        validity, texts = _validity(values), ["" if value is None else value for value in values]
        joined = "".join(texts)
    data = joined.encode()
    sizes = map(len, texts if len(data) == len(joined) else map(str.encode, texts))
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(np.fromiter(sizes, np.int32, len(values)), out=offsets[1:])
    return pa.Array.from_buffers(pa.string(), len(values), [validity, pa.py_buffer(offsets), pa.py_buffer(data)])


def number_array(values: Sequence[int | None], type_: pa.DataType) -> pa.Array:
    """Numbers as an array of a type that has 64 bits. A timestamp is the number of its units since 1970."""
    numbers = np.fromiter((value or 0 for value in values), np.int64, len(values))
    return pa.Array.from_buffers(type_, len(values), [_validity(values), pa.py_buffer(numbers)])


def list_array(values: Sequence[Sequence[str]]) -> pa.Array:
    """Lists of texts as an array."""
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, values), np.int32, len(values)), out=offsets[1:])
    items = text_array([item for value in values for item in value])
    return pa.Array.from_buffers(pa.list_(pa.string()), len(values), [None, pa.py_buffer(offsets)], children=[items])


def _validity(values: Sequence[object]) -> pa.Buffer:
    known = np.fromiter((value is not None for value in values), bool, len(values))
    return pa.py_buffer(np.packbits(known, bitorder="little"))
