"""The ends of the thread that a person may hold, and the models that each leads to."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from dovetail.contracts import prediction_log
from dovetail.errors import SettingsError, TrackingError, WorkspaceError
from dovetail.files import read_json
from dovetail.lineage import DATA_VERSION, GIT_COMMIT, INPUT_PREFIX, ModelReference
from dovetail.operations.trace.causes import RAW, TRAIN, part
from dovetail.operations.trace.effects import compared
from dovetail.operations.trace.evidence import Evidence, Subject
from dovetail.provenance import DIGITS, VERIFIED, Check, Link, differs, unknown
from dovetail.settings.arguments import Trace
from dovetail.tools import data_versions, git
from dovetail.tools.mlflow_records import named

MOST = 10
SHORTEST = 6  # digits of a hash or an id, so that it names one thing and not many


@dataclass(frozen=True)
class End:
    """What was asked for, as a link of its own when it is no model, and the models that it leads to."""

    subjects: Sequence[Subject]
    head: Link | None = None


def find(asked: Trace, name: str, evidence: Evidence) -> End:
    """The end that was asked for; the champion when none was.

    Args:
        asked: At most one end.
        name: The registered model that is meant when none is named.
        evidence: Where to look.

    Raises:
        SettingsError: more than one end was asked for, or one too short to name a thing.
        DovetailError: there is no such thing; the message says what there is.
    """
    ways = {
        "model": lambda text: End(evidence.subjects([named(evidence.records, ModelReference.parse(text, name))])),
        "run": lambda text: of_run(text, evidence),
        "commit": lambda text: of_commit(text, evidence),
        "data": lambda text: of_data(text, evidence),
        "prediction": lambda text: of_prediction(text, evidence),
        "report": lambda text: of_report(text, evidence),
    }
    given = {end: text for end in ways if (text := getattr(asked, end)) is not None}
    if len(given) > 1:
        raise SettingsError(
            f"trace goes from one end to all others, and was given {len(given)}: {', '.join(given)}",
            where="on the command line.",
            todo="Give one of them:  python -m dovetail trace --help",
        )
    end, text = next(iter(given.items()), ("model", "champion"))
    if end in ("run", "data", "prediction") and len(text) < SHORTEST:
        raise SettingsError(
            f"{end}={text} is too short to name one thing",
            where="on the command line.",
            todo=f"Give at least its first {SHORTEST} characters.",
        )
    return ways[end](text)


def of_run(text: str, evidence: Evidence) -> End:
    """The versions that the run was registered as, or the run alone."""
    registered = [version for version in evidence.versions if version.run_id.startswith(text)]
    ids = sorted({version.run_id for version in registered}) or list(evidence.records.runs([text]))
    if len(ids) != 1:
        raise TrackingError(
            f"{len(ids)} runs have an id that starts with '{text[:40]}'" if ids else f"there is no run '{text[:40]}'",
            where="in MLflow.",
            expected="An id has 32 characters; the first ones are enough for runs that were registered.",
            todo="See the runs:  make ui",
        )
    return End(evidence.subjects_of(ids))


def of_commit(text: str, evidence: Evidence) -> End:
    """The models that were trained at the commit, or whose data and receipt its dvc.lock names."""
    known = {version.tags.get(GIT_COMMIT, "") for version in evidence.versions}
    try:
        commit = git.resolve(evidence.root, text)
    except WorkspaceError:
        # It may be lost, and have models all the same.
        started = [each for each in known if len(text) >= SHORTEST and each.startswith(text)]
        if len(started) != 1:
            raise
        commit = started[0]
    runs = [*evidence.records.runs_with([GIT_COMMIT], commit), *_receipts(commit, evidence)]
    if not runs:
        raise TrackingError(
            f"no model was trained at commit {commit[:DIGITS]}, and its dvc.lock names none",
            where="by MLflow's records.",
            expected=f"Commits of registered models: {_listed(each[:DIGITS] for each in known)}.",
            todo="See what each commit is:  git log --oneline",
        )
    found = git.describe(evidence.root, commit)
    said = str(found) if found else "not in this repository"
    check = evidence.checked(lambda: VERIFIED if found else unknown(f"git knows no commit {commit}"))
    return End(evidence.subjects_of(runs), Link("commit", commit[:DIGITS], said, {"commit": commit}, check))


def _receipts(commit: str, evidence: Evidence) -> list[str]:
    """The run whose receipt dvc.lock of the commit names; if the cache has lost it, those of the same training part."""
    lock = evidence.lock_at(commit)
    receipt = data_versions.object_path(evidence.cache, lock.get("models/run.json", "none"))
    if receipt.exists():
        return [str(read_json(receipt)["run_id"])]
    return [v.run_id for v in evidence.versions if v.tags.get(INPUT_PREFIX + TRAIN) == lock.get(TRAIN, "none")]


def of_data(text: str, evidence: Evidence) -> End:
    """The models that were trained or measured on the data, or on what was made of it."""
    runs_by_data: dict[tuple[str, str], list[str]] = {}
    for look in (_in_records, _in_folders, _in_locks):
        for path, md5, run_id in look(text, evidence):
            runs_by_data.setdefault((path, md5), []).append(run_id)
        if runs_by_data:
            break
    known = {version.tags.get(DATA_VERSION, "") for version in evidence.versions}
    hashes = {md5 for _, md5 in runs_by_data}
    if len(hashes) != 1:
        raise TrackingError(
            f"{len(hashes)} hashes of data start with '{text[:40]}'"
            if hashes
            else f"no model was made of data '{text[:40]}'",
            where="by MLflow's records, DVC's cache, and dvc.lock of here and of every commit.",
            expected=f"{_listed(hashes)}." if hashes else f"Data versions of registered models: {_listed(known)}.",
            todo="Give all of its digits." if hashes else "See the hashes of this workspace:  grep md5 dvc.lock",
        )
    (path, md5), *_ = runs_by_data
    runs = [run_id for found in runs_by_data.values() for run_id in found]
    is_version = path == DATA_VERSION
    head = Link("data version", md5, "", {"data_version": md5}) if is_version else part(path, md5, evidence)
    return End(evidence.subjects_of(runs), head)


def _in_records(text: str, evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    """Path, hash and run where MLflow's records name it; the path of a data version is its tag."""
    for version in evidence.versions:
        named = {DATA_VERSION: version.tags.get(DATA_VERSION, "")} | evidence.data_of(version.tags)
        yield from ((path, md5, version.run_id) for path, md5 in named.items() if md5.startswith(text))
    for key in (DATA_VERSION, INPUT_PREFIX + RAW, INPUT_PREFIX + TRAIN):
        for run_id in evidence.records.runs_with([key], text):
            yield key.removeprefix(INPUT_PREFIX), text, run_id


def _in_folders(text: str, evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    """Path, hash and run where it is a file in a folder that MLflow's records name."""
    for version in evidence.versions:
        for folder, md5 in evidence.data_of(version.tags).items():
            for path, each in evidence.files(folder, md5).items():
                if each.startswith(text):
                    yield path, each, version.run_id


def _in_locks(text: str, evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    """Path, hash and run where dvc.lock, of here or of a commit, has it: the runs with the training part beside it."""
    commits = git.holding(evidence.root, text, "dvc.lock")[:MOST]
    for lock in [evidence.lock, *(evidence.lock_at(commit) for commit in commits)]:
        runs = [v.run_id for v in evidence.versions if v.tags.get(INPUT_PREFIX + TRAIN) == lock.get(TRAIN, "none")]
        inner = {path: each for folder, md5 in lock.items() for path, each in evidence.files(folder, md5).items()}
        for path, md5 in (lock | inner).items():
            if md5.startswith(text):
                yield from ((path, md5, run_id) for run_id in runs)


def of_prediction(text: str, evidence: Evidence) -> End:
    """The model that made the prediction."""
    found = [hit for folder in sorted(evidence.predictions.glob("*/")) for hit in prediction_log.find(folder, text)]
    if len(found) != 1:
        said = f"{len(found)} predictions have an id that starts with '{text[:40]}'"
        raise WorkspaceError(
            said if found else f"there is no prediction '{text[:40]}'",
            where=f"in the prediction logs at {evidence.predictions}",
            expected=f"An id is the column {prediction_log.ID} of a log's Parquet files.",
            todo="Give all of its digits." if found else "Make predictions:  python -m dovetail score",
        )
    (hit,) = found
    row, run_id = hit.row, hit.row["run_id"]
    made = evidence.subjects_of([run_id])
    # A run that was registered twice has two versions, and one of them made it.
    subjects = [each for each in made if each.version and each.version.version == row["model_version"]] or made

    def check() -> Check:
        if not hit.is_sound:
            return differs(f"the row in {hit.file} is not what its id says")
        return VERIFIED if subjects else unknown(f"MLflow has no run {run_id}, whose model made it")

    head = Link(
        "prediction",
        row[prediction_log.ID],
        f"{row['key']} at {row['event_timestamp']:%Y-%m-%d %H:%M} UTC: {row['probability']:.4f},"
        f" {'positive' if row['is_positive'] else 'negative'}; scored {row['scored_at']:%Y-%m-%d %H:%M} UTC"
        f" on data {row['data_version']}",
        {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
        | {"file": str(hit.file)},
        evidence.checked(check),
    )
    return End(subjects, head)


def of_report(text: str, evidence: Evidence) -> End:
    """The models that were trained on what a drift report, JSON or HTML, calls its reference."""
    path = evidence.root / text
    if not path.is_file():
        raise WorkspaceError(f"there is no report '{text[:80]}'", where=f"at {path}", todo="Make it:  dvc repro drift")
    parts = compared(path)
    if "reference" not in parts:
        raise WorkspaceError(
            f"{path.name} does not say what it compared",
            where=f"at {path}; it is no drift report, or an old one.",
            todo="Make it again:  dvc repro --force --single-item drift",
        )
    _, reference = parts["reference"]
    runs = [v.run_id for v in evidence.versions if v.tags.get(INPUT_PREFIX + TRAIN) == reference]
    none = unknown("no registered model was trained on its reference")
    head = Link(
        "report",
        text,
        " against ".join(parts[name][0] for name in ("current", "reference") if name in parts),
        {"report": text},
        evidence.checked(lambda: VERIFIED if runs else none),
        tuple(part(where, md5, evidence) for where, md5 in parts.values()),
    )
    return End(evidence.subjects_of(runs), head)


def _listed(names: Iterable[str]) -> str:
    """The names, bounded; `none` when there are none."""
    known = sorted(filter(None, set(names)))
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    return f"{', '.join(known[:MOST])}{more}" or "none"
