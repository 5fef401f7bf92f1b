"""What a comparison found, and the one sentence that says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dovetail.operations.compare.cells import Gathered
from dovetail.operations.compare.points import Point
from dovetail.operations.compare.thread import Part
from dovetail.science.attribution import NEW, NEW_ON_OLD, OLD, OLD_ON_NEW, Attribution, Cell, Cells, Rows
from dovetail.science.comparison import Estimate
from dovetail.science.inputs import MovedInput
from dovetail.science.moved_rows import Group, MovedSlice

_NAMES = {
    "data": "the data",
    "model": "the model",
    "data or model": "data or model",
    "asked": "all: other rows and values",
    "trained": "all: another model",
}


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a comparison found; the points are by side, old and new."""

    points: Mapping[str, Point]
    gathered: Gathered
    rows: Mapping[str, Rows]
    cells: Cells
    attribution: Attribution
    groups: Sequence[Group]
    inputs: Sequence[MovedInput]
    slices: Sequence[MovedSlice]

    @property
    def metric(self) -> str:
        """The name of the metric."""
        return self.cells.metric

    @property
    def parts(self) -> list[Part]:
        """What differs of the recipe, each part once; a seed is none."""
        found = dict.fromkeys(difference.part for difference in self.gathered.differences)
        return [part for part in found if part not in ("data", "seed")]


def sentence(found: Findings) -> str:
    """What the change came from, in one sentence."""
    attribution = found.attribution
    outcome, share = attribution.outcome, f"{attribution.confidence:.1%}".replace(".0%", "%")
    before, after = (found.cells.point[cell] for cell in (Cell(OLD, OLD), Cell(NEW, NEW)))
    change = f"{found.metric} {_went(attribution.total.value)}, from {before:.4f} to {after:.4f}"
    interval = f"({share} interval {_interval(attribution.total)})"
    if outcome == "noise":
        return _noise(found, change, interval)
    by = f", by its {_listed(found.parts)}" if found.parts else ""
    suspect = found.inputs[0] if found.inputs and found.inputs[0].moves > 0 else None
    moved = f"; the input that moved it most is {suspect.name}" if suspect else ""
    if outcome == "both":
        data, model = (attribution.effects[cause] for cause in ("data", "model"))
        return (
            f"It was both: the data ({data.value:+.4f}, {share} interval {_interval(data)}) and the model{by} "
            f"({model.value:+.4f}, {_interval(model)}); together {change}{moved}."
        )
    if outcome == "data or model":
        return f"It was the data or the model{by}, which cannot be told apart here: {change} {interval}{moved}."
    rest = [
        f" (the part of {_NAMES[cause]}, {signed(effect)}, is noise)"
        for cause, effect in attribution.effects.items()
        if cause != outcome
    ]
    who = "the data" if outcome == "data" else f"the model{by}"
    same = "; the model did not change" if outcome == "data" and found.gathered.is_same_model else ""
    return f"It was {who}: {change} {interval}{''.join(rest)}{same}{moved}."


def cell_names(found: Findings) -> dict[Cell, str]:
    """How people call the cells that are shown, in their order; what is the same is there once."""
    models = {OLD: "old model", NEW: "new model", OLD_ON_NEW: OLD_ON_NEW, NEW_ON_OLD: NEW_ON_OLD}
    gathered, names = found.gathered, {}
    for cell in found.cells.point:
        if not ((gathered.is_same_model and cell.model == NEW) or (gathered.is_same_data and cell.data == OLD)):
            data = "" if gathered.is_same_data else f", {cell.data} data"
            names[cell] = f"{'model' if gathered.is_same_model else models[cell.model]}{data}"
    return names


def effect_names(found: Findings) -> dict[str, Estimate]:
    """The effects that are shown, by what people call them: the total, its causes, and what the cells add."""
    attribution, gathered = found.attribution, found.gathered
    causes = {_NAMES[cause]: effect for cause, effect in attribution.effects.items()}
    total = {"all": attribution.total} if len(causes) != 1 else {}
    # Where the model is the same, or the data, the cells add nothing.
    more = attribution.parts if not (gathered.is_same_model or gathered.is_same_data) else {}
    return {**total, **causes, **{_NAMES[part]: effect for part, effect in more.items()}}


def slice_name(row: MovedSlice) -> str:
    """A slice as people call it."""
    return f"{row.slice} {row.value}"


def signed(estimate: Estimate) -> str:
    """An effect with its interval."""
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def _noise(found: Findings, change: str, interval: str) -> str:
    differences = list(dict.fromkeys(difference.part for difference in found.gathered.differences))
    if not differences and found.gathered.is_same_model:
        return f"Nothing differs: same data, same model, {found.metric} {found.attribution.total.value:+.4f}."
    if not differences:
        return f"Noise: nothing that is recorded differs, yet {change}: a training does not give the same model twice."
    if not found.attribution.effects:
        return f"Noise: only a seed differs, and {change}, which is the luck of a training."
    same = "; the model did not change" if found.gathered.is_same_model else ""
    return f"Noise: {change} {interval}, which luck explains, though the {_listed(differences)} changed{same}."


def _went(change: float) -> str:
    if change == 0:
        return "stayed"
    return f"got {'better' if change > 0 else 'worse'} by {abs(change):.4f}"


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _interval(estimate: Estimate) -> str:
    return f"{estimate.low:+.4f} to {estimate.high:+.4f}"
