"""What a comparison says, to people and to programs, whatever it found."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from dovetail.operations.compare.builds import Build, Trained
from dovetail.operations.compare.cells import Gathered
from dovetail.operations.compare.findings import Findings, sentence
from dovetail.operations.compare.points import RAW, Point
from dovetail.operations.compare.record import document
from dovetail.operations.compare.report import screen
from dovetail.operations.compare.thread import Difference, Part, causes
from dovetail.science.attribution import NEW, NEW_ON_OLD, OLD, OLD_ON_NEW, Cell, Cells, Rows, attribute
from dovetail.science.comparison import Estimate
from dovetail.science.inputs import MovedInput
from dovetail.science.moved_rows import Group, MovedSlice

NAN = float("nan")
SAID = {
    "data": "source flights: arr_delay differs on 12 from 2013-03-20",
    "features": "origin_delays: time to live: 1 day, 0:00:00 -> 2:00:00",
    "settings": "model.max_iter: 250 -> 20",
    "code": "src/dovetail/science/estimators.py (train)",
    "environment": "scikit-learn 1.9.0 -> 1.9.1",
    "seed": "seed: 42 -> 43",
}


def found(parts: list[Part], *, model: str = "b", spread: float = 0.001, **point: float) -> Findings:
    """Findings where these parts differ; cells by name, like old_new: the old model on the new data."""
    names = {"old": OLD, "new": NEW, "oldnew": OLD_ON_NEW, "newold": NEW_ON_OLD}
    cells = {Cell(*(names[part] for part in name.split("_"))): value for name, value in point.items()}
    draws = {cell: value + spread * np.array([-1.0, 1.0]) * (cell.model != OLD) for cell, value in cells.items()}
    differences = [Difference(part, SAID[part], rows=part == "features") for part in parts]
    old = Build(pd.DataFrame(), pd.Index([]), {RAW: "0" * 32}, {"usecase": {"until": "2013-10-01"}}, {}, {})
    new = (
        old
        if "data" not in parts
        else replace(old, hashes={RAW: "f" * 32}, params={"usecase": {"until": "2013-12-01"}})
    )
    until = datetime(2013, 8, 1, tzinfo=UTC)
    models = {OLD: Trained(None, "a", until), NEW: Trained(None, model, until)}
    measured = Cells("roc_auc", cells, draws, {OLD: 59, NEW: 120})
    rows = Rows(np.arange(2), np.arange(2), np.array([0, 1]), {})
    return Findings(
        points={
            OLD: Point("version", "flights version 1 (champion)", "c" * 40),
            NEW: Point("version", "flights version 2 (challenger)", "d" * 40),
        },
        gathered=Gathered({(OLD, OLD): old, (NEW, NEW): new}, models, differences),
        rows={OLD: rows, NEW: rows},
        cells=measured,
        attribution=attribute(measured, causes(differences), 0.95),
        groups=[],
        inputs=[MovedInput("mean_delay", 0.0123, 0.5, 1.25, 0.0, 0.1), MovedInput("hour", 0.0, 0.0, None, 0.0, 0.0)],
        slices=[],
    )


SAME = {"old_old": 0.75, "old_new": 0.75, "new_old": 0.70, "new_new": 0.70}
SENTENCES = [
    (
        found(["data"], old_old=0.75, old_new=0.71, new_old=0.74, new_new=0.70),
        "It was the data: roc_auc got worse by 0.0500, from 0.7500 to 0.7000 (97.5% interval -0.0533 to -0.0467); "
        "the input that moved it most is mean_delay.",
    ),
    (
        found(["data"], model="a", old_old=0.75, old_new=0.70, new_old=0.75, new_new=0.70),
        "It was the data: roc_auc got worse by 0.0500, from 0.7500 to 0.7000 (97.5% interval -0.0533 to -0.0467); "
        "the model did not change; the input that moved it most is mean_delay.",
    ),
    (
        found(["features"], **SAME),
        "It was the model, by its features: roc_auc got worse by 0.0500, from 0.7500 to 0.7000 (97.5% interval "
        "-0.0533 to -0.0467); the input that moved it most is mean_delay.",
    ),
    (
        found(["features", "settings", "code", "seed"], **SAME),
        "It was the model, by its features, settings and code: roc_auc got worse by 0.0500, from 0.7500 to 0.7000 "
        "(97.5% interval -0.0533 to -0.0467); the input that moved it most is mean_delay.",
    ),
    (
        found(["data", "settings"], **SAME, oldnew_new=0.72, newold_old=0.74),
        "It was both: the data (-0.0350, 97.5% interval -0.0366 to -0.0334) and the model, by its settings (-0.0150, "
        "-0.0166 to -0.0134); together roc_auc got worse by 0.0500, from 0.7500 to 0.7000; the input that moved it "
        "most is mean_delay.",
    ),
    (
        found(["data", "settings"], **SAME, oldnew_new=0.70, newold_old=0.75, spread=0.005),
        "It was the data: roc_auc got worse by 0.0500, from 0.7500 to 0.7000 (97.5% interval -0.0664 to -0.0336) (the "
        "part of the model, +0.0000 [-0.0082, +0.0082], is noise); the input that moved it most is mean_delay.",
    ),
    (
        found(["data", "settings"], **SAME),
        "It was the data or the model, by its settings, which cannot be told apart here: roc_auc got worse by 0.0500, "
        "from 0.7500 to 0.7000 (97.5% interval -0.0533 to -0.0467); the input that moved it most is mean_delay.",
    ),
    (
        found(["settings"], **SAME, spread=0.1),
        "Noise: roc_auc got worse by 0.0500, from 0.7500 to 0.7000 (97.5% interval -0.3782 to +0.2782), which luck "
        "explains, though the settings changed.",
    ),
    (
        found(["seed"], **SAME),
        "Noise: only a seed differs, and roc_auc got worse by 0.0500, from 0.7500 to 0.7000, which is the luck of a "
        "training.",
    ),
    (
        found([], model="a", spread=0.0, old_old=0.75, old_new=0.75, new_old=0.75, new_new=0.75),
        "Nothing differs: same data, same model, roc_auc +0.0000.",
    ),
]


@pytest.mark.parametrize(("findings", "said"), SENTENCES)
def test_one_sentence_says_it(findings: Findings, said: str) -> None:
    """Data, model (and which of its parts), both, or noise; how much, how sure, and the first suspect."""
    assert sentence(findings) == said


def test_the_screen_has_all_of_it() -> None:
    """The sentence first; then rows, cells, effects, what differs, inputs, slices, and where to look."""
    at = pd.Timestamp("2013-10-01", tz="UTC")
    findings = replace(
        found(["data", "settings"], old_old=0.75, old_new=0.71, new_new=0.70, oldnew_new=0.72, newold_old=0.74),
        groups=[
            Group("changed", 1200, 7, at, at, 0.25, 0.5, 0.75, NAN, Estimate(NAN, NAN, NAN)),
            Group("came", 1, 0, at, at, NAN, 1.0, NAN, 0.7, Estimate(-0.05, -0.1, 0.0)),
        ],
        slices=[
            MovedSlice("origin", "EWR", 0.8, 0.7, Estimate(-0.1, -0.15, -0.05), 100, 50, 0.5, 0.25, 0.1, 0.2),
            MovedSlice("origin", "LGA", NAN, 0.7, Estimate(NAN, NAN, NAN), 1, 50, 0.01, 0.25, 0.1, 0.2),
        ],
    )
    sentence_, *lines = screen(findings, ["picture.png"]).splitlines()
    assert sentence_.startswith("It was both: ")
    assert "\n".join(lines) == (
        "On the 1,200 rows (2013-10-01 to 2013-10-01) whose values changed: roc_auc 0.7500 -> unknown, 25.0% -> 50.0% "
        "positive; the label itself changed on 7.\n"
        "On the 1 row (2013-10-01 to 2013-10-01) that came: roc_auc 0.7000, -0.0500 [-0.1000, +0.0000] from the old "
        "rows, 100.0% positive.\n"
        "\n"
        "roc_auc                                    old data 00000000, until 2013-10-01  "
        "new data ffffffff, until 2013-12-01\n"
        "old model: flights version 1 (champion)                0.7500 [0.7500, 0.7500]              "
        "0.7100 [0.7100, 0.7100]\n"
        "new model: flights version 2 (challenger)                  was trained on them              "
        "0.7000 [0.6968, 0.7032]\n"
        "rows                                                               2 on 2 days                          "
        "2 on 2 days\n"
        "\n"
        "what did it                 change, better is above 0\n"
        "all                         -0.0500 [-0.0533, -0.0467]\n"
        "the data                    -0.0350 [-0.0366, -0.0334]\n"
        "the model                   -0.0150 [-0.0166, -0.0134]\n"
        "all: other rows and values  -0.0400 [-0.0400, -0.0400]\n"
        "all: another model          -0.0100 [-0.0132, -0.0068]\n"
        "\n"
        "what differs\n"
        "  data        source flights: arr_delay differs on 12 from 2013-03-20\n"
        "  settings    model.max_iter: 250 -> 20\n"
        "\n"
        "inputs that moved most  moves roc_auc  changed on  distance        missing\n"
        "  mean_delay                   0.0123       50.0%     1.250  0.0% -> 10.0%\n"
        "\n"
        "slices that moved most           roc_auc                      change   share of rows        positive\n"
        "  origin EWR            0.8000 -> 0.7000  -0.1000 [-0.1500, -0.0500]  50.0% -> 25.0%  10.0% -> 20.0%\n"
        "\n"
        "look at\n"
        "  picture.png"
    )


def test_programs_get_json_that_any_program_reads() -> None:
    """A number that is not known is null: NaN is no JSON."""
    findings = found(["data"], old_old=0.75, new_new=NAN)
    answer = json.loads(json.dumps(document(findings), allow_nan=False, default=str))
    assert (answer["outcome"], answer["because_of"]) == ("noise", [])
    assert answer["cells"][1] == {"model": "new", "data": "new", "value": None, "low": None, "high": None}
    assert answer["old"]["until"] == "2013-10-01"
    assert answer["differences"] == [{"part": "data", "said": SAID["data"]}]


def test_a_seed_is_no_cause() -> None:
    """Everything else is one, the data by itself."""
    differences = {part: Difference(part, said, rows=False) for part, said in SAID.items()}
    assert causes([differences["seed"]]) == set()
    assert causes([differences["data"], differences["seed"]]) == {"data"}
    for part in ("features", "settings", "code", "environment"):
        assert causes([differences[part]]) == {"model"}
