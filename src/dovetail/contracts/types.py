"""The five types of a contract's columns: what they are in Arrow, and how values become them."""

import pyarrow as pa
import pyarrow.compute as pc

from dovetail.settings.schema import ColumnType

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}

# The casts that are tried, in this order: CSV files hold integers as '5.0', and times without a zone, which are UTC.
_WAYS: dict[ColumnType, list[list[pa.DataType]]] = {
    "string": [[pa.string()]],
    "integer": [[pa.int64()], [pa.decimal128(38, 10), pa.int64()]],
    "number": [[pa.float64()], [pa.string(), pa.float64()]],
    "boolean": [[pa.bool_()]],
    "timestamp": [[ARROW_TYPES["timestamp"]], [pa.timestamp("us"), ARROW_TYPES["timestamp"]]],
}


def converted(values: pa.ChunkedArray, wanted: ColumnType) -> pa.ChunkedArray | None:
    """The values in the wanted type, missing ones as null (never NaN); None when one of them cannot be converted.

    Nothing is guessed: 5.5 is no integer, 2 no boolean, 20130101 no timestamp, a timestamp no number.
    What a timestamp holds beyond the microsecond is cut off.
    """
    present = _without_nan(values)
    start = present if _is_related(present.type, wanted) else as_text(present)
    for way in _WAYS[wanted]:
        result = _cast(start, way)
        if result is not None:
            return result
    return None


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as strings; as they are when they have no text, as lists have none."""
    text = _cast(values, [pa.string()])
    return values if text is None else text


def unconvertible(values: pa.ChunkedArray, wanted: ColumnType, limit: int) -> list[str]:
    """The first `limit` values that keep a column from its wanted type, as text, in their order."""
    if limit == 0 or converted(values, wanted) is not None:
        return []
    if len(values) == 1:
        return [str(values[0].as_py())]
    half = len(values) // 2
    first = unconvertible(values[:half], wanted, limit)
    return first + unconvertible(values[half:], wanted, limit - len(first))


def _is_related(given: pa.DataType, wanted: ColumnType) -> bool:
    """Whether Arrow's own cast means the same as writing the values down and reading them again."""
    kinds = pa.types
    is_number = kinds.is_integer(given) or kinds.is_floating(given) or kinds.is_decimal(given)
    return bool(
        kinds.is_null(given)
        or (wanted in ("integer", "number") and is_number)
        or (wanted == "boolean" and kinds.is_boolean(given))
        or (wanted == "timestamp" and (kinds.is_timestamp(given) or kinds.is_date(given)))
    )


def _cast(values: pa.ChunkedArray, way: list[pa.DataType]) -> pa.ChunkedArray | None:
    for step in way:
        try:
            values = _without_nan(values.cast(step, safe=not pa.types.is_timestamp(values.type)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
    return values


def _without_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_nan(values), None, values) if pa.types.is_floating(values.type) else values
