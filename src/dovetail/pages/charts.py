"""Small drawings in SVG that take their colours from the page, so that they suit light, dark and paper.

Drawings beside a row of a table have no text of their own: the row says it, at a size that a phone can show.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

from dovetail.pages.html import Html, tag
from dovetail.science.comparison import Estimate
from dovetail.science.metrics import Calibration

_WIDTH, _HEIGHT = 100.0, 20.0


@dataclass(frozen=True)
class Scale:
    """The values that a column of drawings spans, from left to right."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Scale":
        """A scale that shows all values, with some space around them; nan has no place."""
        known = [value for value in values if isfinite(value)] or [0.0]
        low, high = min(known), max(known)
        spare = max((high - low) * 0.06, 1e-3)
        return cls(low - spare, high + spare)

    def x(self, value: float) -> float:
        """Where the value stands in a drawing."""
        return round((value - self.low) / (self.high - self.low) * _WIDTH, 2)

    def ticks(self, n: int = 4) -> list[float]:
        """About so many round values, of which 0 is one when it is shown."""
        span = (self.high - self.low) / n
        step = 10.0 ** floor(log10(span))
        step *= next((factor for factor in (1, 2, 5) if factor * step >= span), 10)
        first = floor(self.low / step) + 1
        return [round(k * step, 10) for k in range(first, floor(self.high / step) + 1)]


def axis(scale: Scale) -> Html:
    """The values above a column of drawings, each at its place."""
    marks = [
        tag(
            "span", f"{value:+g}" if scale.low < 0 and value else f"{value:g}",
            style=f"left:{scale.x(value):g}%", class_=None if value else "origin",
        )
        for value in scale.ticks()
    ]  # fmt: skip
    return tag("div", marks, class_="axis")


def intervals(estimates: Sequence[tuple[str, Estimate]], scale: Scale, at: float | None = None) -> Html:
    """Estimates with their intervals, one below the other, each in its class of colour; a line at `at`."""
    parts = [_line(scale.x(at), 0, scale.x(at), _HEIGHT, "zero")] if at is not None else []
    for row, (name, estimate) in enumerate(estimates):
        y = _HEIGHT * (row + 1) / (len(estimates) + 1)
        if isfinite(estimate.low) and isfinite(estimate.high):
            parts.append(_line(scale.x(estimate.low), y, scale.x(estimate.high), y, f"whisker {name}"))
        if isfinite(estimate.value):
            parts.append(_line(scale.x(estimate.value), y, scale.x(estimate.value), y, f"point {name}"))
    return _strip(parts)


def bar(value: float, most: float, deviation: float = 0.0, limit: float | None = None, kind: str = "own") -> Html:
    """A bar from 0, `most` as long as the drawing is wide, with a whisker for the deviation and a line at a limit."""
    scale = Scale(0.0, most or 1.0)
    parts = [tag("rect", x=0, y=4, width=max(scale.x(value), 0), height=12, class_=f"bar {kind}")]
    if deviation:
        low, high = max(value - deviation, 0), min(value + deviation, most)
        parts.append(_line(scale.x(low), 10, scale.x(high), 10, "whisker deviation"))
    if limit is not None and 0 <= limit <= most:
        parts.append(_line(scale.x(limit), 0, scale.x(limit), _HEIGHT, "limit"))
    return _strip(parts)


def calibration(models: Mapping[str, Calibration], title: str) -> Html:
    """Predicted against observed share of positives, a line a model; on the dotted line a model keeps its word."""
    size, left, bottom, right = 320.0, 46.0, 36.0, 16.0
    most = max(max(part.max(), 0.05) for bins in models.values() for part in (bins.predicted, bins.observed))
    top = next(step for step in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0) if step >= min(most, 1.0))

    def x(value: float) -> float:
        return round(left + value / top * (size - left - right), 1)

    def y(value: float) -> float:
        return round(size - bottom - value / top * (size - bottom - 8), 1)

    ticks = [top * k / 4 for k in range(5)]
    grid = [
        (
            _line(x(tick), y(0), x(tick), y(top), "grid"),
            _line(x(0), y(tick), x(top), y(tick), "grid"),
            tag("text", f"{tick:.0%}", x=x(tick), y=size - bottom + 14, text_anchor="middle"),
            tag("text", f"{tick:.0%}", x=left - 5, y=y(tick) + 4, text_anchor="end"),
        )
        for tick in ticks
    ]
    lines = [
        (
            tag("polyline", points=" ".join(f"{x(p)},{y(o)}" for p, o in _points(bins)), class_=f"curve {name}"),
            [tag("circle", cx=x(p), cy=y(o), r=2.6, class_=f"dot {name}") for p, o in _points(bins)],
        )
        for name, bins in models.items()
    ]
    words = [
        tag("text", "predicted share", x=(left + size) / 2, y=size - 4, text_anchor="middle"),
        tag("text", "observed share", transform=f"translate(10 {size / 2}) rotate(-90)", text_anchor="middle"),
    ]
    promised = _line(x(0), y(0), x(top), y(top), "promised")
    return tag(
        "svg", tag("title", title), grid, promised, lines, words,
        viewBox=f"0 0 {size:g} {size:g}", class_="chart", role="img",
    )  # fmt: skip


def _points(bins: Calibration) -> list[tuple[float, float]]:
    return [(float(p), float(o)) for p, o in zip(bins.predicted, bins.observed, strict=True)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return tag("line", x1=x1, y1=round(y1, 2), x2=x2, y2=round(y2, 2), class_=kind)


def _strip(parts: Sequence[Html]) -> Html:
    """A drawing as wide as its cell: it stretches, its lines keep their width, and points stay round."""
    return tag(
        "svg", parts, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", preserveAspectRatio="none", class_="strip",
        aria_hidden="true",
    )  # fmt: skip
