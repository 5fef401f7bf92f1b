"""What MLflow knows of model versions and runs, read only, and at once where its database is a file.

MLflow's client takes more than two seconds to be imported and to look at a SQLite file (3.17). A file of the known
revision is read as it is, in milliseconds; a server is asked through the client.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dovetail.contracts import mlflow_database
from dovetail.errors import ModelUnavailableError, NoChampionError, TrackingError
from dovetail.lineage import ModelReference
from dovetail.settings.schema import MLflow

_MOST = 10  # names in a message
_AT_ONCE = 500  # runs in one query


@dataclass(frozen=True)
class Version:
    """A version of a registered model; `location` is the URI of its files."""

    name: str
    version: int
    run_id: str
    location: str
    created_at: datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True)
class Run:
    """A run; `artifacts` is the URI of its files, `is_deleted` that somebody put it in MLflow's bin."""

    run_id: str
    name: str
    status: str
    is_deleted: bool
    started_at: datetime
    artifacts: str
    tags: Mapping[str, str]


class Records(Protocol):
    """What can be asked; nothing is ever written."""

    def versions(self) -> list[Version]:
        """All versions of all registered models, by name and number."""

    def runs(self, run_ids: Iterable[str]) -> dict[str, Run]:
        """The runs by id, deleted ones too; one that is not there is left out."""

    def runs_with(self, keys: Sequence[str], value: str) -> list[str]:
        """The ids of the runs of which one of the tags has the value, the newest first; without deleted ones."""


def records(settings: MLflow, connect: Callable[[], Any]) -> Records:
    """The records of a tracking server or database.

    Args:
        settings: Where they are.
        connect: Makes MLflow's client; called where the database is not a file.

    Raises:
        TrackingError: the database is another MLflow's, or cannot be read.
    """
    if settings.database is None:
        return _Server(connect())
    mlflow_database.demand_own(settings.database)
    return _File(settings.database)


def named(records: Records, reference: ModelReference) -> Version:
    """The version that the name stands for.

    Raises:
        NoChampionError: no version has the alias.
        ModelUnavailableError: there is no such version or model, or none at all; the message says what there is.
    """
    versions = records.versions()
    if not versions:
        raise ModelUnavailableError(
            f"there is no model version yet, so none is {reference}",
            where="in MLflow, by profile.mlflow.tracking_uri.",
            todo="Make one first:  make run",
        )
    own = [version for version in versions if version.name == reference.name]
    if not own:
        raise ModelUnavailableError(
            f"there is no registered model '{reference.name[:60]}'",
            where="in MLflow, by profile.mlflow.tracking_uri.",
            expected=f"There are: {', '.join(sorted({version.name for version in versions})[:_MOST])}.",
            todo="Name one of them:  model=NAME@ALIAS",
        )
    for version in own:
        if version.version == reference.version or reference.alias in version.aliases:
            return version
    aliases = ", ".join(f"{alias} -> {version.version}" for version in own for alias in version.aliases) or "none"
    numbers = ", ".join(str(version.version) for version in own[-_MOST:])
    is_alias = reference.version is None
    raise (NoChampionError if is_alias else ModelUnavailableError)(
        f"model '{own[0].name}' has no {f'alias {reference.alias!r}' if is_alias else f'version {reference.version}'}",
        where="in MLflow, by profile.mlflow.tracking_uri.",
        expected=f"Its versions: {'…, ' if len(own) > _MOST else ''}{numbers}; aliases: {aliases}.",
        todo=f"Name one of them:  model={own[0].name}/{own[-1].version}",
    )


def local_path(uri: str) -> Path | None:
    """The folder or file that the URI names; None when it is not on this machine."""
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def fetch(uri: str, name: str, folder: Path) -> Path | None:
    """A file or folder of a run or model: where it lies, or its copy in `folder` when it is elsewhere; None if lost."""
    place = local_path(uri)
    if place is not None:
        return place / name if (place / name).exists() else None
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(f"{uri.rstrip('/')}/{name}".rstrip("/"), dst_path=str(folder)))
    except (MlflowException, OSError):
        return None


class _File:
    """A SQLite file, which may not be made yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def versions(self) -> list[Version]:
        tags: defaultdict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        aliases: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        for name, version, key, value in self._rows("SELECT name, version, key, value FROM model_version_tags"):
            tags[name, version][key] = value
        for name, version, alias in self._rows(
            "SELECT name, version, alias FROM registered_model_aliases ORDER BY alias"
        ):
            aliases[name, version].append(alias)
        return [
            Version(
                name, version, run_id or "", location, _moment(made), tuple(aliases[name, version]), tags[name, version]
            )
            for name, version, run_id, location, made in self._rows(
                "SELECT name, version, run_id, coalesce(storage_location, source), creation_time FROM model_versions"
                " WHERE current_stage != 'Deleted_Internal' ORDER BY name, version"
            )
        ]

    def runs(self, run_ids: Iterable[str]) -> dict[str, Run]:
        wanted, found = list(dict.fromkeys(run_ids)), {}
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            among = f"run_uuid IN ({', '.join('?' * len(some))})"
            tags: defaultdict[str, dict[str, str]] = defaultdict(dict)
            for run_id, key, value in self._rows(f"SELECT run_uuid, key, value FROM tags WHERE {among}", some):  # noqa: S608
                tags[run_id][key] = value
            query = "SELECT run_uuid, name, status, lifecycle_stage, start_time, artifact_uri FROM runs"
            for run_id, name, status, stage, started, uri in self._rows(f"{query} WHERE {among}", some):
                found[run_id] = Run(run_id, name, status, stage == "deleted", _moment(started), uri, tags[run_id])
        return found

    def runs_with(self, keys: Sequence[str], value: str) -> list[str]:
        among = f"tags.key IN ({', '.join('?' * len(keys))})"
        query = (
            "SELECT DISTINCT runs.run_uuid FROM tags JOIN runs ON runs.run_uuid = tags.run_uuid"  # noqa: S608
            f" WHERE lifecycle_stage = 'active' AND tags.value = ? AND {among} ORDER BY runs.start_time DESC"
        )
        return [run_id for (run_id,) in self._rows(query, [value, *keys])]

    def _rows(self, query: str, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        if mlflow_database.revision(self._path) is None:
            return []
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise TrackingError(
                f"MLflow's database cannot be read: {error}",
                where=f"at {self._path}  (profile.mlflow.tracking_uri)",
                todo="Try again when nobody writes to it, or see what is wrong:  python -m dovetail doctor",
            ) from error


class _Server:
    """Whatever MLflow's client talks to."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def versions(self) -> list[Version]:
        aliases: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        for model in _pages(self._client.search_registered_models):
            # What a search brings has no aliases.
            for alias, version in sorted(self._client.get_registered_model(model.name).aliases.items()):
                aliases[model.name, int(version)].append(alias)
        found = [
            Version(
                name=version.name,
                version=int(version.version),
                run_id=str(version.run_id or ""),
                location=str(self._client.get_model_version_download_uri(version.name, version.version)),
                created_at=_moment(version.creation_timestamp),
                aliases=tuple(aliases[version.name, int(version.version)]),
                tags=dict(version.tags or {}),
            )
            for version in _pages(self._client.search_model_versions)
        ]
        return sorted(found, key=lambda version: (version.name, version.version))

    def runs(self, run_ids: Iterable[str]) -> dict[str, Run]:
        from mlflow.exceptions import MlflowException

        found = {}
        for run_id in dict.fromkeys(run_ids):
            try:
                run = self._client.get_run(run_id)
            except MlflowException:
                continue
            found[run_id] = Run(
                run_id=run_id,
                name=str(run.info.run_name),
                status=str(run.info.status),
                is_deleted=run.info.lifecycle_stage == "deleted",
                started_at=_moment(run.info.start_time),
                artifacts=str(run.info.artifact_uri),
                tags=dict(run.data.tags),
            )
        return found

    def runs_with(self, keys: Sequence[str], value: str) -> list[str]:
        experiments = [experiment.experiment_id for experiment in _pages(self._client.search_experiments)]
        found: dict[str, int] = {}
        for key in keys:
            asked = f"tags.`{key}` = '{value}'"

            def search(page_token: str | None, asked: str = asked) -> Any:
                return self._client.search_runs(experiments, asked, page_token=page_token)

            found |= {run.info.run_id: run.info.start_time for run in _pages(search)}
        return sorted(found, key=lambda run_id: -found[run_id])


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    page = search(page_token=None)
    while page:
        yield from page
        page = page.token and search(page_token=page.token)


def _moment(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
