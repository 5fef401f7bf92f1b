"""What a source's settings may say."""

from typing import Any

import pytest
from pydantic import ValidationError

from dovetail.settings.schema import Column, Source

SOURCE: dict[str, Any] = {
    "kind": "csv",
    "path": "w.csv",
    "key": ["id"],
    "columns": {"id": {"type": "string"}, "note": {"type": "string", "nullable": True}},
    "max_quarantined": 0,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": None}, "a csv source needs `path`"),
        ({"kind": "sql"}, "a sql source needs `connection` and `query`"),
        ({"key": ["nr"]}, "`nr` is not one of its columns"),
        ({"key": ["note"]}, "its key column `note` is nullable"),
        ({"time": "at"}, "`at` is not one of its columns"),
        ({"time": "id"}, "its time column `id` is not a timestamp"),
        ({"rename": {"nr": "number"}}, "`number` is not one of its columns"),
        ({"separator": ";;"}, "String should have at most 1 character"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    """A source must say where it is, and may only name its own columns."""
    with pytest.raises(ValidationError) as caught:
        Source(**{**SOURCE, **changes})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"type": "string", "min": 0}, "min and max are for numbers; this column is a string"),
        ({"type": "integer", "one_of": ["1"]}, "one_of and matches are for strings; this column is a integer"),
        ({"type": "string", "matches": "["}, "not a regular expression: unterminated character set at position 0"),
    ],
)
def test_a_rule_must_fit_its_column(rules: dict[str, Any], message: str) -> None:
    """A rule that could never be checked is refused."""
    with pytest.raises(ValidationError) as caught:
        Column(**rules)
    assert message in str(caught.value)
