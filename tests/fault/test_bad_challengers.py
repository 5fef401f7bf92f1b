"""Challengers that must never take the champion's place: really trained, in a real registry, before the real gate."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.fault.small_flights import Airline, found_in
from tests.integration.conftest import mlflow_in
from threadpoolctl import threadpool_limits

from dovetail import gate
from dovetail.errors import GateRefused, ModelUnavailableError, SettingsError, WorkspaceError
from dovetail.lineage import EVIDENCE
from dovetail.tools import model_registry
from dovetail.tools.model_registry import CHALLENGER, CHAMPION

pytestmark = pytest.mark.slow

Frames = dict[str, pd.DataFrame]


def as_it_is(frames: Frames) -> None:
    """Nothing is wrong."""


def flipped(frames: Frames) -> None:
    """A tenth of the labels say the opposite."""
    rows = np.random.default_rng(0).random(len(frames["train"])) < 0.1
    frames["train"].loc[rows, "is_late"] = 1 - frames["train"].loc[rows, "is_late"]


def corrupted(frames: Frames) -> None:
    """The source wrote -1 for every delay."""
    frames["train"][[name for name in frames["train"] if "delay" in name or "late_3h" in name]] = -1.0


def leaked(frames: Frames) -> None:
    """The holdout's rows are among those it learned from, with moments that give nothing away."""
    moments = frames["train"]["event_timestamp"].to_numpy()
    rows = frames["holdout"].assign(event_timestamp=np.resize(moments, len(frames["holdout"])))
    rows["event_timestamp"] = rows["event_timestamp"].astype(frames["train"]["event_timestamp"].dtype)
    frames["train"] = pd.concat([frames["train"], rows], ignore_index=True)


def late(frames: Frames) -> None:
    """Rows of the holdout's time, under other keys."""
    rows = frames["holdout"].assign(flight_id="again-" + frames["holdout"]["flight_id"])
    frames["train"] = pd.concat([frames["train"], rows], ignore_index=True)


WORSE = "over the champion; must be at least 0.002 with its interval above 0"
# How each is made, and what it is refused for.
BAD = {
    "equal": (as_it_is, [], rf"gain in roc_auc \+0\.0000 \(interval \+0\.0000 to \+0\.0000\) {WORSE}"),
    "flipped": (flipped, [], rf"gain in roc_auc -0\.0\d+ .* {WORSE}"),
    "corrupted": (corrupted, [], rf"gain in roc_auc -0\.[12]\d+ .* {WORSE}"),
    "leaked": (leaked, [], r"flights version \d has learned from 4000 of the 4000 rows \(e\.g\. 2013-08-03-0, 2013-08"),
    "late": (late, [], r"flights version \d has learned from the time before 2013-08-30T23:\d\d:00\.000001\+00:00, "),
    "worse": (as_it_is, ["model.max_iter=1"], rf"gain in roc_auc -0\.\d+ .* {WORSE}"),
}


@pytest.fixture(scope="module")
def airline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airline]:
    """A champion, and the challengers above, each made once."""
    folder = tmp_path_factory.mktemp("challengers")
    # Trees of some thousand rows: a second thread only waits for the first.
    with threadpool_limits(1), mlflow_in(folder) as tracking:
        made = found_in(folder / "project", tracking)
        made.make("champion", as_it_is)
        for name, (edit, overrides, _) in BAD.items():
            made.make(name, edit, *overrides)
        yield made


@pytest.fixture(autouse=True)
def champion(airline: Airline) -> model_registry.ModelVersion:
    """Whatever another test did, the good model is in production."""
    return airline.crown("champion")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_challenger_is_refused(airline: Airline, champion: model_registry.ModelVersion, name: str) -> None:
    """The champion stays; the reason is said, and kept with the version, its run, and as a sealed file."""
    challenger = airline.stand(name)
    with pytest.raises(GateRefused, match=BAD[name][2]) as caught:
        airline.promote()
    assert "flights version 1 stays champion." in str(caught.value)
    assert airline.version(CHAMPION).version == champion.version == 1
    record = airline.record()
    assert (record["decision"], record["run_id"], record["champion"]) == ("refused", challenger.run_id, str(champion))
    assert any(re.match(BAD[name][2], reason) for reason in record["reasons"])
    tags = airline.version(CHALLENGER).tags
    assert (tags["dovetail.gate"], tags["dovetail.gate_mode"]) == ("refused", "enforce")


def test_what_the_gate_found_has_the_same_names_everywhere(airline: Airline, tmp_path: Path) -> None:
    """Its numbers are the run's metrics, the version's tag and the file's; the file is sealed with the version."""
    airline.stand("flipped")
    with pytest.raises(GateRefused):
        airline.promote()
    challenger, record = airline.version(CHALLENGER), airline.record()
    metrics = airline.client.get_run(challenger.run_id).data.metrics
    assert {name: value for name, value in metrics.items() if name.startswith("gate/")} == record["numbers"]
    assert json.loads(challenger.tags["sealed.gate_numbers"]) == record["numbers"]
    assert {
        "gate/roc_auc", "gate/champion_roc_auc", "gate/gain_over_champion", "gate/gain_over_champion_low",
        "gate/gain_over_baseline_high", "gate/worst_slice_gain", "gate/behaviour/one_mile_more",
    } <= set(record["numbers"])  # fmt: skip
    sealed = model_registry.fetch_evidence(challenger, "promotion.json", tmp_path)
    assert json.loads(sealed.read_text()) == record
    sealed = airline.client.get_run(challenger.run_id).info.artifact_uri.removeprefix("file://") + "/promotion.json"
    Path(sealed).write_text(Path(sealed).read_text().replace("refused", "passed"))
    with pytest.raises(ModelUnavailableError, match=r"promotion\.json of flights version 3 is not what was registered"):
        model_registry.fetch_evidence(challenger, "promotion.json", tmp_path)


def test_a_better_challenger_is_promoted_but_not_in_a_dry_run(
    airline: Airline, caplog: pytest.LogCaptureFixture
) -> None:
    """A dry run judges and writes all, moves nothing and says so; the same challenger then becomes the champion."""
    worse, better = airline.crown("worse"), airline.stand("champion")
    with caplog.at_level(logging.INFO):
        airline.promote("usecase.gate.mode=dry_run")
    assert airline.version(CHAMPION).version == worse.version
    assert f"dry run: {better} would be promoted, nothing was moved" in caplog.text
    record, tags = airline.record(), airline.version(CHALLENGER).tags
    assert (record["decision"], tags["dovetail.gate"], tags["dovetail.gate_mode"]) == ("passed", "passed", "dry_run")
    description = airline.client.get_model_version("flights", "1").description
    assert description.startswith(
        f"Passed by the gate against {worse}, on the same rows of the holdout; a dry run: nothing was promoted."
    )

    airline.promote()
    assert airline.version(CHAMPION).version == better.version
    assert {row["slice"] for row in airline.record()["slices"]} == {"origin", "carrier", "hour_band"}


def test_a_dry_run_of_a_bad_challenger_is_no_failure(airline: Airline, caplog: pytest.LogCaptureFixture) -> None:
    """It says what it would have said."""
    challenger = airline.stand("equal")
    with caplog.at_level(logging.INFO):
        airline.promote("usecase.gate.mode=dry_run")
    assert f"dry run: {challenger} would not be promoted, nothing was moved\n  - gain in roc_auc +0.0000" in caplog.text
    assert airline.version(CHAMPION).version == 1


def test_a_gate_that_is_off_says_so_for_good(airline: Airline, caplog: pytest.LogCaptureFixture) -> None:
    """It lets a bad challenger through, with a warning, a tag and loud words on the version."""
    challenger = airline.stand("corrupted")
    airline.promote("usecase.gate.mode=off")
    assert airline.version(CHAMPION).version == challenger.version
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage() == (
        f"{challenger} is the champion now, THOUGH IT WAS NOT JUDGED: usecase.gate.mode is off"
    )
    version = airline.client.get_model_version("flights", str(challenger.version))
    assert version.tags["dovetail.gate"] == "off"
    assert version.description.startswith("NEVER JUDGED: the gate was off when this version was promoted against")
    assert (airline.record()["decision"], airline.record()["checks"]) == ("off", [])


def test_a_champion_that_kept_no_keys_may_have_seen_every_row(airline: Airline) -> None:
    """Unknown is not fine: nobody is promoted over it, and the message says the ways on."""
    champion, worse = airline.version(CHAMPION), airline.stand("worse")
    evidence = json.loads(champion.tags[EVIDENCE])
    keyless = json.dumps({name: sha for name, sha in evidence.items() if name != "training_keys.parquet"})
    airline.client.set_model_version_tag("flights", str(champion.version), EVIDENCE, keyless)
    try:
        with pytest.raises(GateRefused) as caught:
            airline.promote()
    finally:
        airline.client.set_model_version_tag("flights", str(champion.version), EVIDENCE, json.dumps(evidence))
    assert f"{champion} has kept no keys of its rows, so it may have seen these" in str(caught.value)
    assert "python -m dovetail promote usecase.gate.mode=off" in str(caught.value)
    assert airline.record()["models"] == {}, "nobody was measured"
    assert str(worse) not in airline.record()["reasons"][0]


def test_keys_that_were_changed_are_not_believed(airline: Airline) -> None:
    """Another file in the place of the keys is no proof of anything."""
    challenger = airline.stand("leaked")
    uri = airline.client.get_run(challenger.run_id).info.artifact_uri.removeprefix("file://")
    path, champions = Path(uri, "training_keys.parquet"), airline.workspace.read("made/champion/training_keys.parquet")
    content = path.read_bytes()
    path.write_bytes(champions.read_bytes())
    try:
        with pytest.raises(ModelUnavailableError, match=r"training_keys\.parquet of .* is not what was registered"):
            airline.promote()
    finally:
        path.write_bytes(content)
    assert airline.version(CHAMPION).version == 1


def test_a_challenger_that_answers_otherwise_is_refused_with_the_numbers(airline: Airline) -> None:
    """Better than the champion as it is: a use case that expects the impossible of it gets its way."""
    airline.crown("worse")
    airline.stand("champion")
    wrong = "usecase.gate.behaviour.delays_at_the_origin.expect=fall"
    with pytest.raises(GateRefused) as caught:
        airline.promote(wrong)
    (reason,) = airline.record()["reasons"]
    assert re.match(
        r"origin_mean_arr_delay_3h \+30 and origin_share_late_3h \+0\.3 moves the predictions by "
        r"\+0\.\d+ \(interval \+0\.\d+ to \+0\.\d+\), and "
        r"\d+\.\d% of 4000 rows do not rise by more than 0\.02; must fall on average, and 90\.0% keep to it",
        reason,
    )
    assert reason in str(caught.value)


def test_all_that_is_wrong_with_behaviours_is_said_at_once(airline: Airline) -> None:
    """Inputs that there are not, with the nearest, and changes that do not fit their type."""
    airline.stand("worse")
    common = "expect: rise, share: 1, tolerance: 0"
    with pytest.raises(SettingsError) as caught:
        airline.promote(
            f"+usecase.gate.behaviour.a={{change: {{wnd: {{add: 1}}, carrier: {{add: 1}}}}, {common}}}",
            f"+usecase.gate.behaviour.b={{change: {{wind: {{set: high}}}}, {common}}}",
        )
    said = str(caught.value)
    assert "usecase.gate.behaviour.a.change.wnd: no input of the model; did you mean 'wind'?  [conf/" in said
    assert "usecase.gate.behaviour.a.change.carrier: is a text, and can only be set to another  [" in said
    assert "usecase.gate.behaviour.b.change.wind: is a number, and cannot be set to a text  [" in said


@pytest.mark.parametrize("path", ["data/training_set/holdout.parquet", "models/baseline.skops"])
def test_altered_data_is_not_judged_by(airline: Airline, path: str) -> None:
    """What decides must be what the pipeline made: path and both hashes are named, and nothing is moved or written."""
    airline.crown("worse")
    airline.stand("champion")
    record, file = airline.record(), airline.workspace.read(path)
    content = file.read_bytes()
    file.write_bytes(content + b"\0")
    try:
        with pytest.raises(WorkspaceError) as caught:
            airline.promote()
    finally:
        file.write_bytes(content)
    assert re.search(rf"  - {path} is [0-9a-f]{{32}}, (assemble|train) made [0-9a-f]{{32}}\n", str(caught.value))
    assert 'chmod -R u+w "$(dvc cache dir)" && dvc repro' in str(caught.value)
    assert airline.version(CHAMPION).version != 1
    assert airline.record() == record


@pytest.mark.parametrize("mode", ["enforce", "off"])
def test_a_challenger_whose_files_were_changed_is_not_promoted(airline: Airline, mode: str) -> None:
    """The door is shut in every mode: a gate that is off judges nothing, and loads nothing that is not whole."""
    airline.crown("worse")
    challenger = airline.stand("champion")
    folder = Path(airline.client.get_model_version_download_uri("flights", "1").removeprefix("file://"))
    content = bytearray((folder / "model.skops").read_bytes())
    content[len(content) // 2] ^= 1
    whole = (folder / "model.skops").rename(folder.parent / "whole")
    (folder / "model.skops").write_bytes(content)
    try:
        with pytest.raises(ModelUnavailableError, match=rf"{challenger} is refused, .*\n  - model\.skops was changed"):
            airline.promote(f"usecase.gate.mode={mode}")
    finally:
        whole.rename(folder / "model.skops")
    assert airline.version(CHAMPION).version != challenger.version


def test_judging_changes_nothing(airline: Airline) -> None:
    """Whoever only wants to know asks `gate.judge`: no alias, tag, metric or file is written."""
    challenger = airline.stand("equal")
    before = airline.client.get_model_version("flights", str(challenger.version)), airline.record()
    judgement = gate.judge(airline.settings(), airline.workspace, challenger, airline.version(CHAMPION))
    assert judgement.decision == gate.REFUSED
    after = airline.client.get_model_version("flights", str(challenger.version)), airline.record()
    assert (dict(after[0]), after[1]) == (dict(before[0]), before[1])
