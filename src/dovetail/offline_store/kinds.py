"""Kinds of types: what may stand for another when columns of a source meet a view's fields, or label rows."""

import pyarrow as pa

NULL = "null"
_TESTS = {
    "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "bytes": (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
    "number": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    "time": (pa.types.is_timestamp, pa.types.is_date),
    "list": (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
}


def kind_of(dtype: pa.DataType) -> str:
    """The kind of a type: 32 or 64 bits, integers or floats, whole seconds or microseconds are one kind.

    A type that nothing else stands for is its own; a column of nulls, which has no type, is of the kind `null`.
    """
    if pa.types.is_dictionary(dtype):
        return kind_of(dtype.value_type)
    return next((kind for kind, tests in _TESTS.items() if any(test(dtype) for test in tests)), str(dtype))


def is_alike(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types may stand for each other; nulls stand for anything."""
    kinds = {kind_of(one), kind_of(other)}
    return len(kinds) == 1 or NULL in kinds
