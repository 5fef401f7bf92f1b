"""One value wherever it is read: features online and offline, for the same keys at the same moments."""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dovetail.errors import FeatureError
from dovetail.files import read_parquet, write_json
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.text import table
from dovetail.tools.feature_store import online, registry
from dovetail.tools.feature_store.configuration import RepoConfig, feast_config
from dovetail.tools.feature_store.definitions import Definitions, load_definitions
from dovetail.tools.feature_store.parity import Parity, compare, total
from dovetail.tools.feature_store.retrieval import historical_features

log = logging.getLogger(__name__)
RECORD = "reports/parity.json"
TIME = "event_timestamp"
RECENT = timedelta(days=1)
COUNTS = ("features", "values", "equal", "null", "different", "only_online", "only_offline", "other_type")


def parity(settings: Pipeline, workspace: Workspace) -> None:
    """Print and record, by view, what a sample of keys has online and offline at a sample of moments.

    Twice: in a store of its own, of the profile's kind, which is filled up to each moment in turn; and in the store
    in use, at the end of its last materialization.

    Raises:
        FeatureError: a value is not one value, feature tables are missing, or the store in use means something else.
    """
    usecase, feature_repo = settings.usecase, workspace.root / "feature_repo"
    definitions = load_definitions(feature_repo, usecase.name)
    online.check_tables(definitions, feature_repo)
    keys = list(dict.fromkeys([*definitions.join_keys, *definitions.request_columns]))
    # Feast's online stores refuse a null key.
    rows = read_parquet(workspace.read("data/label_rows.parquet")).select([*keys, TIME]).drop_null()
    random = np.random.default_rng(settings.seed)
    moments = _moments(rows, usecase.online.parity.moments, random)
    asked = {moment: _sample(rows, moment, usecase.online.parity.rows, random) for moment in moments}
    overlap = timedelta(hours=usecase.online.overlap_hours)
    found = {"a store of its own": list(_replay(workspace, definitions, asked, overlap))}
    if (end := _online_until(workspace, definitions)) is not None:
        sample = _sample(rows, end, usecase.online.parity.rows, random)
        config = feast_config(feature_repo, workspace.profile.feature_store)
        found["the store in use"] = list(_at(workspace, definitions, online.at_moment(config, end), sample))
    for store, views in found.items():
        _print(store, views)
    write_json({store: [asdict(view) for view in views] for store, views in found.items()}, workspace.root / RECORD)
    _demand([view for views in found.values() for view in views])


def _moments(rows: pa.Table, n: int, random: np.random.Generator) -> list[datetime]:
    """Moments of prediction, one at random out of each of n equal parts of the rows in their order."""
    times = rows[TIME].take(pc.sort_indices(rows[TIME]))
    places = [int(random.choice(part)) for part in np.array_split(np.arange(len(times)), n) if len(part)]
    return [times[place].as_py() for place in places]


def _sample(rows: pa.Table, moment: datetime, n: int, random: np.random.Generator) -> pa.Table:
    """Keys at a moment: half of recent rows, half of any before, and one row of keys that nobody has."""
    before = rows.filter(pc.less_equal(rows[TIME], pa.scalar(moment, rows[TIME].type)))
    recent = before.filter(pc.greater(before[TIME], pa.scalar(moment - RECENT, rows[TIME].type)))
    drawn = [
        part.take(random.choice(part.num_rows, min(size, part.num_rows), replace=False))
        for part, size in ((recent, n // 2), (before, n - n // 2))
    ]
    keys = [*drawn, _nobody(rows)]
    sample = pa.concat_tables(keys).drop_columns([TIME])
    return sample.append_column(TIME, pa.array([moment] * sample.num_rows, rows[TIME].type))


def _nobody(rows: pa.Table) -> pa.Table:
    """A row of keys that are in no table; what is neither text nor a whole number stays as it is in the first row."""
    row = rows.slice(0, 1).to_pylist()[0]
    strange = {name: "nobody" if isinstance(value, str) else -(2**31) for name, value in row.items() if name != TIME}
    return pa.Table.from_pylist([{**row, **strange}], rows.schema)


def _replay(
    workspace: Workspace, definitions: Definitions, asked: dict[datetime, pa.Table], overlap: timedelta
) -> Iterator[Parity]:
    """A store of its own, filled up to each moment in turn, as it would have been then."""
    config = feast_config(workspace.root / "feature_repo", workspace.profile.feature_store)
    found: list[Parity] = []
    with TemporaryDirectory(prefix="dovetail-parity-") as folder, online.private_store(config, Path(folder)) as own:
        registry.apply([definitions], own)
        for moment, sample in asked.items():
            log.info("parity: a store of its own, filled up to %s", moment)
            list(online.materialize(definitions, own, moment, overlap))
            found += _at(workspace, definitions, online.at_moment(own, moment), sample)
    return total(found)


def _at(workspace: Workspace, definitions: Definitions, config: RepoConfig, sample: pa.Table) -> Iterator[Parity]:
    """The sample, read from the online store, and through the path that training takes."""
    offline = historical_features(definitions, sample, workspace.root / "feature_repo", workspace.profile.feature_store)
    with registry.open_store(config) as store:
        values = online.online_features(store, definitions.service.name, sample.drop_columns([TIME]))
    yield from compare(definitions, definitions.join_keys, values, offline)


def _online_until(workspace: Workspace, definitions: Definitions) -> datetime | None:
    """Up to when all views are in the store in use; None when nothing is, or not up to one moment."""
    config = feast_config(workspace.root / "feature_repo", workspace.profile.feature_store)
    ends = online.ends(definitions, config)
    if len(set(ends.values())) == 1 and (end := next(iter(ends.values()))) is not None:
        return end
    log.info("parity: the store in use is left out: its views are not all online up to one moment")
    return None


def _print(store: str, views: list[Parity]) -> None:
    rows = [[store, *(name.replace("_", " ") for name in COUNTS)]]
    rows += [[view.view, *(f"{getattr(view, name):,}" for name in COUNTS)] for view in views]
    print(table(rows, right=True))
    for view in views:
        print(*(f"  - {view.view}: {example}\n" for example in view.examples), sep="", end="")
    print()


def _demand(views: list[Parity]) -> None:
    broken = [view for view in views if not view.holds]
    if broken:
        raise FeatureError(
            f"{sum(view.unlike + view.other_type for view in broken):,} values are not the same online and offline",
            where=f"in {', '.join(sorted({view.view for view in broken}))}; examples are above and in {RECORD}.",
            expected="one value for a key and a moment, wherever it is read",
            todo="Bring the store up to date:  python -m dovetail materialize",
        )
