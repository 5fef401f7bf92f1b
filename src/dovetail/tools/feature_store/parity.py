"""The same feature of the same key at the same moment, read online and offline: is it one value?"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from feast.field import Field
from feast.type_map import feast_value_type_to_python_type
from feast.types import from_feast_to_pyarrow_type

from dovetail.tools.feature_store.definitions import Definitions

MAX_EXAMPLES = 3


@dataclass
class Parity:
    """What was compared of one view, in values.

    Attributes:
        view: Its name.
        features: How many features of it the service has.
        equal: Values that are the same to the bit; timestamps to the second, which is all that Feast keeps online.
        null: Nothing on both sides: nothing known, or too old.
        different: Other values.
        only_online: A value online where there is none offline.
        only_offline: A value offline where there is none online.
        other_type: Values, equal or not, that are of another type than the view says, on either side.
        examples: The first that are not alike, for people.
    """

    view: str
    features: int
    equal: int = 0
    null: int = 0
    different: int = 0
    only_online: int = 0
    only_offline: int = 0
    other_type: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def values(self) -> int:
        """How many were compared."""
        return self.equal + self.null + self.unlike

    @property
    def unlike(self) -> int:
        """How many are not one value."""
        return self.different + self.only_online + self.only_offline

    @property
    def holds(self) -> bool:
        """Whether every value is one value, and of the type that the view says."""
        return self.unlike == 0 and self.other_type == 0


def compare(
    definitions: Definitions, keys: Sequence[str], online: dict[str, list[Any]], offline: pa.Table
) -> Iterator[Parity]:
    """What was found for each view of the service.

    Args:
        definitions: The views.
        keys: The columns of `offline` that say which row it is, for the examples.
        online: Feast's values (protobuf) by feature, in the order of `offline`'s rows.
        offline: The rows, with `event_timestamp`, and each feature as it was known then.
    """
    views = {**definitions.views, **definitions.on_demand_views}
    for projection in definitions.service.feature_view_projections:
        dtypes = {known.name: known for known in views[projection.name].features}
        found = Parity(projection.name, len(projection.features))
        for asked in projection.features:
            _compare_feature(found, dtypes[asked.name], online[asked.name], offline, keys)
        yield found


def _compare_feature(
    found: Parity, feature: Field, online: Sequence[Any], offline: pa.Table, keys: Sequence[str]
) -> None:
    column = offline[feature.name]
    kinds = {value.WhichOneof("val") for value in online} - {None, "null_val"}
    expected = _value_kind(feature)
    if kinds - {expected} or column.type != from_feast_to_pyarrow_type(feature.dtype):
        found.other_type += len(online)
        found.examples.append(f"{feature.name} is {'/'.join(sorted(kinds)) or expected} online, {column.type} offline")
    for row, (proto, there) in enumerate(zip(online, column.to_pylist(), strict=True)):
        here = feast_value_type_to_python_type(proto)
        if here is None and there is None:
            found.null += 1
        elif here is None or there is None:
            found.only_offline += here is None
            found.only_online += there is None
            _explain(found, feature.name, here, there, offline, keys, row)
        elif _bits(here) == _bits(there):
            found.equal += 1
        else:
            found.different += 1
            _explain(found, feature.name, here, there, offline, keys, row)


def _value_kind(feature: Field) -> str:
    """What Feast's value message calls the type."""
    return f"{feature.dtype.to_value_type().name.lower()}_val"


def _bits(value: Any) -> Any:
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).replace(microsecond=0)
    return [_bits(item) for item in value] if isinstance(value, list) else value


def _explain(found: Parity, name: str, here: Any, there: Any, offline: pa.Table, keys: Sequence[str], row: int) -> None:
    if len(found.examples) < MAX_EXAMPLES:
        of = ", ".join(f"{key}={offline[key][row]}" for key in keys)
        found.examples.append(f"{name} of {of} at {offline['event_timestamp'][row]}: {here} online, {there} offline")


def total(found: Iterable[Parity]) -> Iterator[Parity]:
    """The sums by view, in the order in which the views come first."""
    sums: dict[str, Parity] = {}
    for part in found:
        whole = sums.setdefault(part.view, Parity(part.view, part.features))
        for name in ("equal", "null", "different", "only_online", "only_offline", "other_type"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.examples = [*whole.examples, *part.examples][:MAX_EXAMPLES]
    yield from sums.values()
