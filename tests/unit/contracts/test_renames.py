"""Which new column is called a missing one's new name."""

from typing import Any

import pyarrow as pa
import pytest

from dovetail.contracts.checks import check
from dovetail.contracts.renames import overlap, probable_renames
from dovetail.settings.schema import Column, Source

COLUMNS: dict[str, Any] = {
    "id": {"type": "string", "matches": "[a-z]"},
    "temp": {"type": "number", "nullable": True, "min": -40, "max": 120},
    "humid": {"type": "number", "min": 0, "max": 100},
}


def source() -> Source:
    """A contract that tells temperatures from humidities by their range."""
    return Source(kind="csv", path="w.csv", key=["id"], columns=COLUMNS, max_quarantined=0.0)


def test_a_column_with_the_same_values_is_a_probable_rename() -> None:
    """The problem says which column looks the same, and the setting that accepts it."""
    table = pa.table({"id": ["a", "b"], "temperature": ["10.5", "30"], "humid": [50.0, 60.0]})
    verdict = check("weather", table, source())
    assert verdict.problems == (
        "column 'temp' is missing; 'temperature' is new and looks the same (overlap 1.00): renamed?"
        "\n    accept it:  usecase.sources.weather.rename: {temperature: temp}",
    )


def test_a_column_of_another_type_is_no_rename() -> None:
    """Words do not look like numbers, whatever their column is called."""
    table = pa.table({"id": ["a"], "humid": [1.0], "temps": ["cold"]})
    assert probable_renames(table, source()) == {}


def test_a_column_in_another_range_is_no_rename() -> None:
    """Numbers that break the missing column's range do not look the same: 285 Kelvin are no Fahrenheit."""
    table = pa.table({"id": ["a", "b"], "humid": [1.0, 2.0], "temp_k": [285.0, 290.0]})
    assert probable_renames(table, source()) == {}


def test_an_empty_column_is_no_rename() -> None:
    """A column without a value looks like nothing."""
    table = pa.table({"id": ["a"], "humid": [1.0], "temps": pa.nulls(1, pa.string())})
    assert probable_renames(table, source()) == {}


def test_the_more_similar_names_belong_together() -> None:
    """Two missing columns of one range each get their own new name."""
    table = pa.table({"id": ["a"], "air_temp": [60.0], "rel_humid": [50.0]})
    assert probable_renames(table, source()) == {"temp": ("air_temp", 1.0), "humid": ("rel_humid", 1.0)}


@pytest.mark.parametrize(("values", "expected"), [([1.0, 2.0, 500.0, None], 2 / 3), ([500.0], 0.0), ([None], 0.0)])
def test_overlap_is_the_share_of_present_values_that_keep_the_rules(values: list, expected: float) -> None:
    """Nulls do not count."""
    found = overlap(pa.chunked_array([pa.array(values, pa.float64())]), Column(**COLUMNS["temp"]))
    assert found == pytest.approx(expected)
