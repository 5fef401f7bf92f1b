"""A comparison for people, on one screen."""

import math
from collections.abc import Iterator, Sequence

from dovetail.operations.compare.findings import Findings, effect_names, sentence, signed, slice_name
from dovetail.operations.compare.points import RAW
from dovetail.science.attribution import NEW, OLD, Cell, is_real
from dovetail.science.comparison import Estimate
from dovetail.science.moved_rows import Group
from dovetail.text import table

MOST_DIFFERENCES, MOST_INPUTS, MOST_SLICES = 8, 5, 5
WIDTH = 110


def screen(found: Findings, places: Sequence[str]) -> str:
    """The comparison for people: the sentence, the cells, what differs, what moved, and where to look further."""
    blocks = [
        "\n".join([sentence(found), *_about_rows(found)]),
        _cells(found),
        _effects(found),
        _differences(found),
        _inputs(found),
        _slices(found),
        "\n".join(["look at", *(f"  {place}" for place in places)]),
    ]
    return "\n\n".join(block for block in blocks if block)


def _about_rows(found: Findings) -> list[str]:
    """A sentence on each kind of rows that are not the same on both sides."""
    return [sentence for group in found.groups for sentence in _about(group, found.metric)]


def _about(group: Group, metric: str) -> Iterator[str]:
    rows = "row" if group.rows == 1 else "rows"
    span = f"{group.rows:,} {rows} ({group.first:%Y-%m-%d} to {group.last:%Y-%m-%d})"
    old, new = _number(group.metric_old), _number(group.metric_new)
    change = "" if math.isnan(group.change.value) else f", {signed(group.change)}"
    if group.fate == "changed":
        labels = f"; the label itself changed on {group.labels:,}" if group.labels else ""
        positives = f"{group.positives_old:.1%} -> {group.positives_new:.1%} positive"
        yield f"On the {span} whose values changed: {metric} {old} -> {new}{change}, {positives}{labels}."
    elif group.fate == "came":
        more = f"{change} from the old rows" if change else ""
        yield f"On the {span} that came: {metric} {new}{more}, {group.positives_new:.1%} positive."
    elif group.fate == "left":
        yield f"On the {span} that left: {metric} {old}, {group.positives_old:.1%} positive."


def _cells(found: Findings) -> str:
    gathered, confidence = found.gathered, found.attribution.confidence
    data = [NEW] if gathered.is_same_data else [OLD, NEW]
    rows = [(found.metric, *(_head(found, side) for side in data))]
    for side in [NEW] if gathered.is_same_model else [OLD, NEW]:
        cells = [Cell(side, column) for column in data]
        levels = [found.cells.level(cell, confidence) if cell in found.cells.point else None for cell in cells]
        name = "the model, which is the same" if gathered.is_same_model else f"{side} model: {found.points[side].title}"
        rows.append((name, *(_measured(level) if level else "was trained on them" for level in levels)))
    rows.append(("rows", *(f"{len(found.rows[side].y):,} on {found.rows[side].n_days} days" for side in data)))
    return table(rows, right=True)


def _head(found: Findings, side: str) -> str:
    """How a column is called: by its raw data, and until when that goes."""
    build = found.gathered.builds[side, side]
    name = "data" if found.gathered.is_same_data else f"{side} data"
    return f"{name} {build.hashes[RAW][:8]}, until {build.params['usecase']['until'][:10]}"


def _effects(found: Findings) -> str:
    rows = [("what did it", "change, better is above 0", "")]
    for name, effect in effect_names(found).items():
        rows.append((name, signed(effect), "" if is_real(effect) else "luck explains it"))
    return table(rows, right=False) if len(rows) > 2 else ""


def _differences(found: Findings) -> str:
    differences = found.gathered.differences
    lines = [f"  {d.part:<11} {_cut(d.said, WIDTH - 14)}" for d in differences[:MOST_DIFFERENCES]]
    if len(differences) > MOST_DIFFERENCES:
        lines.append(f"  and {len(differences) - MOST_DIFFERENCES} more")
    return "\n".join(["what differs", *lines]) if lines else ""


def _inputs(found: Findings) -> str:
    shown = [row for row in found.inputs if round(row.moves, 4) > 0][:MOST_INPUTS]
    rows = [("inputs that moved most", f"moves {found.metric}", "changed on", "distance", "missing")]
    for row in shown:
        distance = "-" if row.distance is None else f"{row.distance:.3f}"
        missing = f"{row.missing_old:.1%} -> {row.missing_new:.1%}"
        rows.append((f"  {row.name}", f"{row.moves:.4f}", _share(row.changed), distance, missing))
    return table(rows, right=True) if shown else ""


def _slices(found: Findings) -> str:
    shown = [row for row in found.slices if not math.isnan(row.change.value)][:MOST_SLICES]
    rows = [("slices that moved most", found.metric, "change", "share of rows", "positive")]
    for row in shown:
        rows.append(
            (
                f"  {slice_name(row)}",
                f"{row.old:.4f} -> {row.new:.4f}",
                signed(row.change),
                f"{row.share_old:.1%} -> {row.share_new:.1%}",
                f"{row.positives_old:.1%} -> {row.positives_new:.1%}",
            )
        )
    return table(rows, right=True) if shown and found.gathered.differences else ""


def _measured(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.4f}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _cut(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
