"""Pictures of how a model predicts: matplotlib figures, made of labels (0 or 1) and predicted probabilities."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dovetail.science.metrics import Numbers, calibration, measure, rank, roc_points

if TYPE_CHECKING:
    from dovetail.science.comparison import Estimate, SliceRow

COLOURS = ("#1f5fa8", "#d1792b", "#7a7a7a", "#2e8b57")  # told apart in grey and by most colour-blind people
_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def curves(y: Numbers, predictions: Mapping[str, Numbers], title: str) -> Figure:
    """ROC and precision-recall curves side by side, one line a model."""
    figure, (roc, precision_recall) = _axes(1, 2, (11, 5), title)
    for colour, (name, p) in zip(COLOURS, predictions.items(), strict=False):
        metrics = measure(y, p)
        points = roc_points(y, p)
        label = f"{name} (AUC {metrics.roc_auc:.3f})"
        roc.plot(points.false_positive_rate, points.true_positive_rate, color=colour, label=label)
        counts = rank(y, p).counts()
        recall, precision = counts.positives / y.sum(), counts.positives / (counts.positives + counts.negatives)
        # The first few rows alone make any precision: they only add noise to the picture.
        seen = counts.positives + counts.negatives >= min(50, len(y))
        label = f"{name} (AP {metrics.average_precision:.3f})"
        precision_recall.plot(
            np.append(0, recall[seen]), np.append(precision[seen][:1], precision[seen]), color=colour, label=label
        )
    roc.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="chance")
    share = float(np.mean(y))
    chance = f"share of positives {share:.3f}"
    precision_recall.axhline(share, color="black", linewidth=0.8, linestyle=":", label=chance)
    _finish(roc, "false positive rate", "true positive rate", "lower right")
    _finish(precision_recall, "recall", "precision", "upper right")
    return figure


def reliability(y: Numbers, predictions: Mapping[str, Numbers], title: str) -> Figure:
    """Predicted against observed share of positives, twenty bins of equal size, above the predictions' histogram."""
    figure, (upper, lower) = _axes(2, 1, (6.5, 7), title, height_ratios=(3, 1), sharex=True)
    top = 0.0
    for colour, (name, p) in zip(COLOURS, predictions.items(), strict=False):
        bins = calibration(y, p, 20)
        label = f"{name} (Brier {measure(y, p).brier:.4f})"
        upper.plot(bins.predicted, bins.observed, marker="o", markersize=4, color=colour, label=label)
        lower.hist(p, bins=50, histtype="step", color=colour)
        top = max(top, float(bins.predicted.max()), float(bins.observed.max()))
    upper.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="as promised")
    upper.set_xlim(0, min(1, top * 1.05))
    upper.set_ylim(0, min(1, top * 1.05))
    _finish(upper, "", "observed share", "upper left")
    lower.set_xlabel("predicted probability")
    lower.set_ylabel("rows")
    return figure


def confusion(y: Numbers, p: Numbers, threshold: float, title: str) -> Figure:
    """Rows by label and decision at the threshold, with their share of the label's rows."""
    decided = (p >= threshold).astype(int)
    counts = np.array([[int(((y == label) & (decided == d)).sum()) for d in (0, 1)] for label in (0, 1)])
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    figure, axes = _axes(1, 1, (5, 4.6), f"{title}\nyes from {threshold:.3f} on")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    for row in (0, 1):
        for column in (0, 1):
            text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}"
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=12)
    axes.set_xticks([0, 1], ["predicted no", "predicted yes"])
    axes.set_yticks([0, 1], ["was no", "was yes"])
    return figure


def importances(names: Sequence[str], mean: Numbers, deviation: Numbers, title: str, n_shown: int = 20) -> Figure:
    """What the AUC loses when a column is shuffled, the largest on top; whiskers are one standard deviation."""
    order = np.argsort(mean)[-n_shown:]
    figure, axes = _axes(1, 1, (7.5, 0.6 + 0.3 * len(order)), title)
    axes.barh(np.array(names)[order], mean[order], xerr=deviation[order], color=COLOURS[0], ecolor="#555555")
    axes.set_xlabel("AUC lost when the column is shuffled")
    axes.grid(axis="y", visible=False)
    return figure


def slices(rows: Sequence["SliceRow"], metric: str, title: str) -> Figure:
    """The metric of each slice and model with its interval; slices that are too small are left out."""
    shown = [row for row in rows if not row.too_small]
    labels = list(dict.fromkeys(f"{row.slice} {row.value}  ({row.rows:,})" for row in shown))
    models = list(dict.fromkeys(row.model for row in shown))
    figure, axes = _axes(1, 1, (8, 1.2 + 0.33 * len(labels)), title)
    for offset, (colour, model) in enumerate(zip(COLOURS, models, strict=False)):
        mine = [row.metric for row in shown if row.model == model]
        at = np.arange(len(mine))[::-1] + 0.22 * ((len(models) - 1) / 2 - offset)
        value, low, high = (np.array([getattr(e, part) for e in mine]) for part in ("value", "low", "high"))
        whiskers = [value - low, high - value]
        axes.errorbar(value, at, xerr=whiskers, fmt="o", markersize=4, elinewidth=1.2, color=colour, label=model)
    axes.set_yticks(np.arange(len(labels))[::-1], labels)
    axes.set_xlabel(metric)
    figure.legend(loc="outside lower center", ncols=len(models))
    return figure


def comparison(
    cells: Mapping[str, "Estimate"],
    effects: Mapping[str, "Estimate"],
    inputs: Mapping[str, float],
    slices: Mapping[str, "Estimate"],
    metric: str,
    title: str,
) -> Figure:
    """Both models on both data versions, what made the change, and the inputs and slices that moved most."""
    heights = (max(len(cells), len(effects), 2), max(len(inputs), len(slices), 3))
    figure, axes = _axes(2, 2, (12, 2.6 + 0.3 * sum(heights)), title, height_ratios=heights)
    _whiskers(axes[0, 0], cells, COLOURS[0], metric)
    _whiskers(axes[0, 1], effects, COLOURS[1], f"change of {metric}: what did it", zero=True)
    at = np.arange(heights[1])[::-1][: len(inputs)]
    axes[1, 0].barh(at, list(inputs.values()), height=0.6, color=COLOURS[2])
    axes[1, 0].set_yticks(at, list(inputs))
    axes[1, 0].set_ylim(-0.6, heights[1] - 0.4)
    axes[1, 0].grid(axis="y", visible=False)
    axes[1, 0].set_xlabel(f"what each input moves {metric} by")
    _whiskers(axes[1, 1], slices, COLOURS[3], f"change of {metric} by slice", zero=True)
    for each in axes.flat:
        each.locator_params(axis="x", nbins=6)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file, same picture, same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return file.getvalue()


def _axes(n_rows: int, n_columns: int, size: tuple[float, float], title: str, **grid: Any) -> tuple[Figure, Any]:
    """A figure that no display and no global state knows of, and its axes."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(n_rows, n_columns, **grid)
    figure.suptitle(title, fontsize=12)
    return figure, axes


def _whiskers(axes: Axes, estimates: Mapping[str, "Estimate"], colour: str, label: str, *, zero: bool = False) -> None:
    """A point with its interval for each, the first on top; `zero` draws where nothing changes."""
    at = np.arange(len(estimates))[::-1]
    value, low, high = (np.array([getattr(e, part) for e in estimates.values()]) for part in ("value", "low", "high"))
    whiskers = np.nan_to_num([value - low, high - value])
    axes.errorbar(value, at, xerr=whiskers, fmt="o", markersize=5, elinewidth=1.4, color=colour)
    if zero:
        axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(at, list(estimates))
    axes.set_ylim(-0.6, len(estimates) - 0.4)
    axes.set_xlabel(label)


def _finish(axes: Axes, x: str, y: str, legend: Any) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(loc=legend, fontsize=9)
