"""Small drawings: every value has its place."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dovetail.pages import charts
from dovetail.pages.charts import Scale
from dovetail.science.comparison import Estimate
from dovetail.science.metrics import Calibration

NUMBERS = st.floats(-1e6, 1e6)


def places(drawing: str) -> list[float]:
    """Where lines of a drawing begin and end, from left to right."""
    return [float(x) for x in re.findall(r'x[12]="([^"]+)"', drawing)]


@given(st.lists(NUMBERS, min_size=1))
def test_a_scale_shows_all_values_in_their_order(values: list[float]) -> None:
    """Nothing is drawn outside, a larger value is never to the left, and ticks lie inside."""
    scale = Scale.of(values)
    at = [scale.x(value) for value in sorted(values)]
    assert all(0 <= x <= 100 for x in at)
    assert at == sorted(at)
    assert len(scale.ticks()) < 12
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks())


def test_what_is_not_known_is_not_drawn() -> None:
    """nan has no place on a scale, an estimate without interval no whisker, and one without value no point."""
    nan = float("nan")
    assert Scale.of([nan, 1.0, 3.0]) == Scale.of([1.0, 3.0])
    scale = Scale.of([0.0, 1.0])
    assert len(places(charts.intervals([("own", Estimate(0.5, nan, nan))], scale))) == 2
    assert places(charts.intervals([("own", Estimate(nan, nan, nan))], scale)) == []


def test_zero_is_where_the_line_is() -> None:
    """A gain to the left of the line is a loss."""
    scale = Scale.of([-1.0, 1.0])
    zero, _, low, high, point, _ = places(charts.intervals([("bad", Estimate(-0.5, -0.9, -0.1))], scale, 0.0))
    assert low < point < high < zero == 50
    assert 'left:50%" class="origin">0<' in charts.axis(scale)


def test_a_bar_is_as_long_as_its_value() -> None:
    """The largest fills the cell; a negative one has no length, and nothing divides by nothing."""
    assert 'width="50.0"' in charts.bar(1.0, 2.0)
    assert 'width="0"' in charts.bar(-1.0, 2.0)
    assert 'width="0.0"' in charts.bar(0.0, 0.0)


def test_calibration_is_drawn_with_its_words() -> None:
    """A line a model, in a square that ends at a round share."""
    bins = Calibration(np.array([0.1, 0.35]), np.array([0.05, 0.4]), np.array([10, 10]))
    drawing = charts.calibration({"own": bins, "champion": bins}, "title <1>")
    assert drawing.count("<polyline") == 2
    assert "<title>title &lt;1&gt;</title>" in drawing
    assert ">40%<" in drawing
    assert ">50%<" not in drawing
