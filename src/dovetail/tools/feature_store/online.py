"""Feast's online store: what is brought online, up to when, and what it answers."""

import contextlib
import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView
from feast.repo_config import RepoConfig

from dovetail.contracts.feature_tables import schema_problems
from dovetail.errors import FeatureError
from dovetail.tools.feature_store.definitions import Definitions, refuse
from dovetail.tools.feature_store.meaning import service_meaning
from dovetail.tools.feature_store.registry import open_store, registry_lock, require_registered
from dovetail.tools.feature_store.tables import view_rule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_tables(definitions: Definitions, feature_repo: Path) -> None:
    """Nothing, when each view's feature table is there with the columns and types that the view says.

    Raises:
        FeatureError: tables are missing, or columns are missing, new or of another type; all of all views are said.
    """
    problems: list[str] = []
    for name, view in definitions.views.items():
        path = feature_repo / view.batch_source.path
        try:
            problems += schema_problems(view_rule(view), pq.read_schema(path).remove_metadata())
        except FileNotFoundError:
            problems.append(f"{name}: its table is missing: {path.resolve()}")
        except (pa.ArrowInvalid, OSError) as error:
            problems.append(f"{name}: its table cannot be read: {str(error).splitlines()[0]}")
    refuse("the feature tables have {} problems", problems, definitions.file)


def interval(view: FeatureView, end: datetime, overlap: timedelta) -> tuple[datetime, datetime]:
    """The span of event time to bring online: from the last end, less the overlap for rows that came late, to `end`.

    The first time, and after a long pause, it starts where rows are still alive: the time to live before `end`.

    Raises:
        FeatureError: nothing lies between, or the view is online up to a later moment already.
    """
    last = view.most_recent_end_time
    if last is not None and end < last:
        raise FeatureError(
            f"feature view '{view.name}' is online up to {last:%Y-%m-%d %H:%M:%S} already",
            where=f"and the end is {end:%Y-%m-%d %H:%M:%S}, by usecase.until or by the clock of this machine.",
            expected="an end that is not before the last one",
            todo="Move usecase.until forward in conf/usecase/, or set the clock.",
        )
    alive = end - view.ttl if view.ttl else EPOCH
    start = max(alive, last - overlap) if last else alive
    if start >= end:
        raise FeatureError(
            f"nothing lies between {start:%Y-%m-%d %H:%M:%S} and {end:%Y-%m-%d %H:%M:%S}",
            where=f"for feature view '{view.name}', which is online up to there.",
            expected="an end after the last one, or an overlap above zero",
            todo="Set usecase.online.overlap_hours in conf/usecase/, or move usecase.until forward.",
        )
    return start, end


def materialize(
    definitions: Definitions, config: RepoConfig, end: datetime, overlap: timedelta
) -> Iterator[tuple[str, datetime, datetime]]:
    """Bring the newest row of each key of each view online, a view at a time; yields each view and its span.

    What was online stays: an older event never replaces a newer one. The registry says that a span is online after
    all of it is, so a run that was ended in the middle is repeated.

    Raises:
        FeatureError: the registry means something else than the definitions, or there is no span (`interval`).
    """
    with open_store(config) as store:
        require_registered(store, service_meaning(definitions), definitions.service.name, str(definitions.file))
    for name in definitions.views:
        with registry_lock(config), open_store(config) as store:
            start, until = interval(store.get_feature_view(name), end, overlap)
            # Feast prints a bar for each view.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                store.materialize(start, until, [name])
        yield name, start, until


@contextmanager
def only_run(lock_file: Path) -> Iterator[None]:
    """Keeps a second run out while this one works.

    Raises:
        FeatureError: another process is at it; it is named.
    """
    with lock_file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise FeatureError(
                f"another run is at it: process {lock.read().strip() or 'unknown'}",
                where=f"which holds {lock_file}",
                expected="one at a time",
                todo="Wait for its end, and run the same command again.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def ends(definitions: Definitions, config: RepoConfig) -> dict[str, datetime | None]:
    """Up to when each view is online; None for one that never was.

    Raises:
        FeatureError: the registry means something else than the definitions.
    """
    with open_store(config) as store:
        registered = {view.name: view.most_recent_end_time for view in store.list_feature_views()}
        if any(registered.values()):
            require_registered(store, service_meaning(definitions), definitions.service.name, str(definitions.file))
    return {name: registered.get(name) for name in definitions.views}


def at_moment(config: RepoConfig, moment: datetime) -> RepoConfig:
    """The configuration with an online store that takes a moment for now, when it asks whether a value is too old."""
    return _changed(config, online_store={**config.online_store.model_dump(), "now": moment})


@contextmanager
def private_store(config: RepoConfig, folder: Path) -> Iterator[RepoConfig]:
    """The configuration of an empty store of the same kind, with a registry in `folder`; it is gone after the block."""
    project = f"{config.project}_{os.getpid()}"
    online_store = config.online_store.model_dump()
    if "path" in online_store:
        online_store["path"] = str(folder / "online_store.db")
    own = _changed(config, project=project, registry=str(folder / "registry.db"), online_store=online_store)
    try:
        yield own
    finally:
        with open_store(own) as store:
            store.teardown()


def _changed(config: RepoConfig, **changes: Any) -> RepoConfig:
    said = {
        "project": config.project,
        "provider": config.provider,
        "registry": config.registry.model_dump(),
        "online_store": config.online_store.model_dump(),
        "offline_store": config.offline_store.model_dump(),
        "entity_key_serialization_version": config.entity_key_serialization_version,
        "repo_path": config.repo_path,
    }
    return RepoConfig(**{**said, **changes})


def online_features(store: FeatureStore, service: str, rows: pa.Table) -> dict[str, list[Any]]:
    """What the online store has for each row of keys and request columns, as Feast's values (protobuf), by feature."""
    found = store.get_online_features(store.get_feature_service(service), rows.to_pydict())
    names = found.proto.metadata.feature_names.val
    results = dict(zip(names, found.proto.results, strict=True))
    return {name: list(result.values) for name, result in results.items() if name not in rows.column_names}
