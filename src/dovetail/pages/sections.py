"""The parts of a model card, each a heading and what is below it; a part that is not known says why."""

from collections.abc import Mapping, Sequence
from math import isfinite, isnan

from dovetail.pages import charts
from dovetail.pages.charts import Scale
from dovetail.pages.html import Content, Html, tag
from dovetail.pages.records import Card, Drifted, Importance, Metric, Rule, Slice, Unknown
from dovetail.science.comparison import Estimate
from dovetail.science.drift import ColumnDrift
from dovetail.science.metrics import SMALLER_IS_BETTER, Calibration

SAID = {"roc_auc": "ROC AUC", "average_precision": "average precision", "brier": "Brier score", "log_loss": "log loss"}
N_INPUTS = 20
# A page is read by a person: of more lines or names than this, those that matter most, and how many more.
N_LINES, N_NAMES, N_LETTERS = 50, 30, 40
DASH = "-"


def section(title: str, intro: str, content: "Content | Unknown") -> Html:
    """A heading, a sentence on how to read what is below, and the content; of an `Unknown` its reason."""
    if isinstance(content, Unknown):
        return tag("section", tag("h2", title), unknown(content))
    return tag("section", tag("h2", title), tag("p", intro, class_="soft") if intro else None, content)


def unknown(missing: Unknown) -> Html:
    """What is not known, why, and the command that would bring it."""
    todo = [" Bring it: ", tag("code", missing.todo)] if missing.todo else None
    return tag("p", tag("b", "Unknown: "), missing.why, ".", todo, class_="unknown")


def rules(found: Sequence[Rule]) -> Html:
    """Rules, the broken ones first, each with a mark that a colour-blind person can tell."""
    lines = [
        tag("li", tag("b", "✓" if rule.holds else "✗", class_="good" if rule.holds else "bad"), rule.said)
        for rule in sorted(found, key=lambda rule: rule.holds)
    ]
    return tag("ul", lines[:N_LINES], _more(len(lines) - N_LINES, "li"), class_="rules")


def metrics(card: Card) -> Html:
    """Every metric with its interval, beside the champion's on the same rows."""
    intro = (
        f"On {card.judged.rows}; the same rows for all models. In brackets the {card.judged.confidence:.0%} interval."
        " A gain above 0 is better, whatever the metric."
    )
    if isinstance(card.metrics, Unknown):
        return section("Metrics", "", card.metrics)
    has_champion = any(row.gain for row in card.metrics)
    head = _head("metric", *(["gain", "this version", "champion"] if has_champion else ["this version"]), "baseline")
    rows = [_metric(row, card.judged.metric, has_champion) for row in card.metrics]
    return section("Metrics", intro, table(head, rows))


def slices(card: Card) -> Html:
    """The deciding metric where rows share a value: where the version is better, where worse, where nobody can say."""
    title = f"Slices: {SAID.get(card.judged.metric, card.judged.metric)}"
    if isinstance(card.slices, Unknown):
        return section(title, "", card.slices)
    told = [row for row in card.slices if not row.too_small]
    has_champion = any(row.gain for row in told)
    marks = [_mark(row, card.judged.slice_tolerance) for row in told]
    drawn = [estimate for row in told if (estimate := row.gain if has_champion else row.own)]
    scale = Scale.of([*(part for estimate in drawn for part in estimate), *([0.0] if has_champion else [])])
    head = tag(
        "tr", tag("th", "slice"), _th("gain") if has_champion else None, tag("th", charts.axis(scale), class_="plot"),
        _th("this version"), _th("champion") if has_champion else None, _th("rows"), _th("positive"),
    )  # fmt: skip
    shown = sorted(range(len(told)), key=lambda n: _badness(told[n]))[:N_LINES]
    rows = [_slice(told[n], marks[n], scale, has_champion) for n in sorted(shown)]
    small = [f"{row.name} {row.value[:N_LETTERS]} ({row.rows:,})" for row in card.slices if row.too_small]
    words = tag("p", f"Too few rows to say anything: {_names(small)}.") if small else None
    intro = f"In {len(told)} of {len(card.slices)} there are rows enough to say something."
    if has_champion:
        counts = {kind: sum(mark == kind for mark, _ in marks) for kind in ("good", "bad")}
        intro += (
            f" {counts['good']} of them are better than the champion's; {counts['bad']} worse, which is beyond the"
            f" interval or by more than {card.judged.slice_tolerance:g}."
        )
    return section(title, intro, [table(head, rows) if rows else None, _more(len(told) - len(rows)), words])


def calibration(found: Mapping[str, Calibration] | Unknown) -> Html:
    """Whether a predicted share comes true."""
    if isinstance(found, Unknown):
        return section("Calibration", "", found)
    intro = "Rows by predicted probability, in bins of equal size. On the dotted line a prediction comes true."
    names = {"own": "this version", "champion": "champion"}
    return section(
        "Calibration", intro, [_key({name: names[name] for name in found}), charts.calibration(found, intro)]
    )


def behaviour(found: Sequence[Rule] | Unknown) -> Html:
    """Whether the predictions move as the use case says that they must."""
    if isinstance(found, Unknown):
        return section("Behaviour", "", found)
    if not found:
        return section(
            "Behaviour", "", tag("p", "The use case asks for none: ", tag("code", "usecase.gate.behaviour"), ".")
        )
    intro = "One input is moved, all others stay, and the predictions must answer as the use case says."
    return section("Behaviour", intro, rules(found))


def drift(found: Drifted | Unknown) -> Html:
    """Which inputs of the training data moved since the champion's, and how far."""
    title = "Training data against the champion's"
    if isinstance(found, Unknown):
        return section(title, "", found)
    if found.is_same:
        return section(title, "", tag("p", f"The same file, to the byte: {found.rows:,} rows. Nothing moved."))
    intro = (
        f"{found.rows:,} rows against the champion's {found.champion_rows:,}. The distance is the drift report's:"
        " of numbers in standard deviations of the champion's, of categories from 0 to 1."
    )
    told = [column for column in found.columns if column.outcome != "ok"]
    still = [column for column in found.columns if column.outcome == "ok"]
    farthest = max((column.distance or 0.0 for column in found.columns), default=0.0)
    rows = [_moved(column, farthest) for column in sorted(told, key=lambda column: -(column.distance or 0.0))]
    others = max(still, key=lambda column: column.distance or 0.0, default=None)
    rest = f"{len(still)} of {len(found.columns)} columns did not move"
    if others is not None:
        rest += f"; the farthest of them is {others.column}, at {others.distance or 0.0:.3f}"
    shown = table(_head("column", "distance", "", "why", plain=("why", "")), rows[:N_LINES]) if rows else None
    return section(title, intro, [shown, _more(len(rows) - N_LINES), tag("p", f"{rest}.")])


def importances(found: Sequence[Importance] | Unknown) -> Html:
    """The inputs that matter most, and how much they mattered to the champion."""
    if isinstance(found, Unknown):
        return section("Inputs", "", found)
    has_champion = any(row.champion is not None for row in found)
    ordered = sorted(found, key=lambda row: -(row.own if row.own is not None else -1.0))
    shown = [row for row in ordered[:N_INPUTS] if row.own is not None]
    most = max((value for row in shown for value in (row.own, row.champion) if value is not None), default=0.0)
    intro = "What the ROC AUC loses on the validation part when the input's column is shuffled."
    new = [row.name for row in found if has_champion and row.champion is None]
    gone = [row.name for row in found if row.own is None]
    words = [
        tag("p", f"{len(found) - len(gone) - len(shown)} more lose less.")
        if len(found) - len(gone) > len(shown)
        else None,
        tag("p", f"New, and not the champion's: {_names(new)}.") if new else None,
        tag("p", f"Gone, and the champion's: {_names(gone)}.") if gone else None,
    ]
    head = _head("input", "loss", *(["champion's"] if has_champion else []), "", plain=("",))
    rows = [_importance(row, most, has_champion) for row in shown]
    return section("Inputs", intro, [table(head, rows), words])


def lineage(card: Card) -> Html:
    """Where the version and the champion came from, line by line, and what differs between them."""
    head = tag(
        "tr", tag("th", ""), tag("th", "this version"), tag("th", "champion") if card.champion else None, tag("th", "")
    )
    rows = [
        tag(
            "tr", tag("td", fact.name), _said(fact.own),
            [_said(fact.champion), tag("td", _differs(fact.own, fact.champion))] if card.champion else None,
        )
        for fact in card.facts
    ]  # fmt: skip
    return section("Where it came from", "", [table(head, rows), _changes(card)])


def _changes(card: Card) -> Content:
    if not card.champion:
        return None
    if isinstance(card.changes, Unknown):
        return [tag("h3", "What differs"), unknown(card.changes)]
    if not card.changes:
        return [tag("h3", "What differs"), tag("p", "Neither settings nor feature definitions.")]
    return [
        (
            tag("h3", f"What differs: {part}"),
            tag("ul", [tag("li", said) for said in lines[:N_LINES]], _more(len(lines) - N_LINES, "li")),
        )
        for part, lines in card.changes.items()
    ]


def _more(n: int, element: str = "p") -> Html | None:
    return tag(element, f"And {n:,} more.") if n > 0 else None


def _names(names: Sequence[str]) -> str:
    more = [f"and {len(names) - N_NAMES:,} more"] if len(names) > N_NAMES else []
    return ", ".join([*names[:N_NAMES], *more])


def _metric(row: Metric, deciding: str, has_champion: bool) -> Html:
    name = SAID.get(row.name, row.name) + (", smaller is better" if row.name in SMALLER_IS_BETTER else "")
    first = tag("td", tag("b", name), " (decides)") if row.name == deciding else tag("td", name)
    if not has_champion:
        return tag("tr", first, _cell(row.own), _cell(row.baseline))
    kind, mark = _sign(row.gain)
    gain = tag("td", _gain(row.gain), tag("br"), tag("b", mark, class_=kind), class_="number")
    return tag("tr", first, gain, _cell(row.own), _cell(row.champion), _cell(row.baseline))


def _slice(row: Slice, mark: tuple[str, str], scale: Scale, has_champion: bool) -> Html:
    kind, word = mark
    drawn = row.gain if row.gain and has_champion else row.own
    colour = kind if kind in ("good", "bad") else "none" if has_champion else "own"
    gain = tag("td", _gain(row.gain), tag("br"), tag("b", word, class_=kind), class_="number")
    return tag(
        "tr", tag("td", f"{row.name} ", tag("b", row.value[:N_LETTERS])), gain if has_champion else None,
        tag("td", charts.intervals([(colour, drawn)], scale, 0.0 if has_champion else None), class_="plot"),
        tag("td", _number(row.own), class_="number"),
        tag("td", _number(row.champion), class_="number") if has_champion else None,
        tag("td", f"{row.rows:,}", class_="number"), tag("td", f"{row.positives_share:.1%}", class_="number"),
    )  # fmt: skip


def _badness(row: Slice) -> float:
    """What a person looks at first when he cannot look at all: the smallest gain or, without a champion, many rows."""
    return row.gain.value if row.gain else -row.rows


def _mark(row: Slice, tolerance: float) -> tuple[str, str]:
    """The colour and the word of a slice."""
    if row.gain and row.gain.value < -tolerance:
        return "bad", "worse than allowed"
    return _sign(row.gain)


def _sign(gain: Estimate | None) -> tuple[str, str]:
    if gain is None or isnan(gain.value):
        return "soft", ""
    if gain.low > 0:
        return "good", "better"
    return ("bad", "worse") if gain.high < 0 else ("soft", "no clear difference")


def _moved(column: ColumnDrift, farthest: float) -> Html:
    value = DASH if column.distance is None else f"{column.distance:.3f}"
    picture = charts.bar(column.distance, farthest, kind="bad") if column.distance is not None else None
    new = f"; new: {', '.join(column.new_categories)} ({column.new_share:.1%} of rows)" if column.new_categories else ""
    unsaid = "could not be compared: " if column.outcome == "could_not_evaluate" else ""
    return tag(
        "tr", tag("td", column.column), tag("td", value, class_="number"), tag("td", picture, class_="plot"),
        tag("td", unsaid, column.reason, new),
    )  # fmt: skip


def _importance(row: Importance, most: float, has_champion: bool) -> Html:
    before = tag("td", DASH if row.champion is None else f"{row.champion:.4f}", class_="number")
    own = row.own or 0.0
    return tag(
        "tr", tag("td", row.name, " (new)" if has_champion and row.champion is None else ""),
        tag("td", f"{own:.4f}", class_="number"), before if has_champion else None,
        tag("td", charts.bar(own, most, row.deviation, limit=row.champion), class_="plot"),
    )  # fmt: skip


def _said(value: str | None) -> Html:
    return tag("td", tag("code", value)) if value is not None else tag("td", "unknown", class_="wait")


def _differs(own: str | None, champion: str | None) -> Content:
    if own is None or champion is None:
        return tag("span", "cannot be compared", class_="wait")
    return tag("span", "same", class_="soft") if own == champion else tag("b", "differs")


def _cell(estimate: Estimate | None) -> Html:
    if estimate is None or isnan(estimate.value):
        return tag("td", DASH, class_="number")
    interval = [tag("br"), _interval(f"[{estimate.low:.4f}, {estimate.high:.4f}]")] if isfinite(estimate.low) else None
    return tag("td", f"{estimate.value:.4f}", interval, class_="number")


def _number(estimate: Estimate | None) -> str:
    return DASH if estimate is None or isnan(estimate.value) else f"{estimate.value:.4f}"


def _gain(gain: Estimate | None) -> Content:
    if gain is None or isnan(gain.value):
        return DASH
    return [f"{gain.value:+.4f}", tag("br"), _interval(f"[{gain.low:+.4f}, {gain.high:+.4f}]")]


def _interval(said: str) -> Html:
    return tag("span", said, class_="interval")


def _key(names: Mapping[str, str]) -> Html:
    return tag("p", [tag("span", tag("i", class_=kind), said) for kind, said in names.items()], class_="key")


def _th(name: str) -> Html:
    return tag("th", name, class_="number")


def _head(first: str, *others: str, plain: Sequence[str] = ()) -> Html:
    """The head of a table whose first column is text and whose others are numbers, but for the plain ones."""
    return tag("tr", tag("th", first), [tag("th", name) if name in plain else _th(name) for name in others])


def table(head: Html, rows: Sequence[Html]) -> Html:
    """Rows under a head; on a narrow page it scrolls by itself."""
    return tag("div", tag("table", tag("thead", head), tag("tbody", rows)), class_="wide")
