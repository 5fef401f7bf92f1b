"""The online store in a SQLite file: readers go on while a writer writes."""

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from pydantic import AwareDatetime, PositiveFloat

from dovetail.online_store.freshness import FreshReads, Row, to_datetime, to_moment

# SQLite takes 32,766 variables in a statement: https://sqlite.org/limits.html
KEYS_AT_ONCE = 10_000
COLUMNS = "(entity_key, feature_name, value, value_text, event_ts, created_ts)"
NEWEST = """
    ON CONFLICT (entity_key, feature_name) DO UPDATE SET
        value = excluded.value, value_text = excluded.value_text,
        event_ts = excluded.event_ts, created_ts = excluded.created_ts
    WHERE excluded.event_ts > event_ts
        OR excluded.event_ts = event_ts AND coalesce(excluded.created_ts >= created_ts, TRUE)
"""


class FreshSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):  # type: ignore[misc]  # Feast is untyped
    """`online_store` in `feature_store.yaml`; the rest is Feast's own.

    Args:
        type: This store.
        now: What counts as now when a value's age is asked, for data of the past; None for the clock.
        busy_timeout_seconds: How long a writer waits for another.
    """

    type: Literal["dovetail.online_store.sqlite.FreshSqliteOnlineStore"] = (
        "dovetail.online_store.sqlite.FreshSqliteOnlineStore"
    )
    now: AwareDatetime | None = None
    busy_timeout_seconds: PositiveFloat = 30.0


class FreshSqliteOnlineStore(FreshReads, SqliteOnlineStore):  # type: ignore[misc]  # Feast is untyped
    """Feast's SQLite store in WAL mode: a read is one snapshot, a write one transaction, the newest event wins.

    The tables are Feast's, but `event_ts` and `created_ts` hold microseconds since 1970 UTC. Every thread reads
    through a connection of its own, so none sees what is not committed. Vector search is not supported.
    """

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opened: list[sqlite3.Connection] = []

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write all rows, or none; a row that is older than what is there changes nothing.

        Raises:
            NotImplementedError: the store is configured for vector search.
        """
        if config.online_store.vector_enabled:
            raise NotImplementedError("FreshSqliteOnlineStore has no vector search: set vector_enabled: false")
        statement = f"INSERT INTO {_name(config, table)} {COLUMNS} VALUES (?, ?, ?, ?, ?, ?) {NEWEST}"  # noqa: S608
        with self._lock, self._writing(config) as connection:
            connection.executemany(statement, _cells(config, data))
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: Sequence[EntityKey],
        requested_features: Sequence[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """The row of each key as it is stored, in the order of the keys: its event time and values; None where none is.

        Whether a value is too old is not asked here, but where Feast puts a reply together.
        """
        keys = [_key(config, key) for key in entity_keys]
        rows: dict[bytes, list[tuple[str, bytes, int]]] = defaultdict(list)
        with self._reading(config) as connection:
            for first in range(0, len(keys), KEYS_AT_ONCE):
                some = keys[first : first + KEYS_AT_ONCE]
                query = f"SELECT entity_key, feature_name, value, event_ts FROM {_name(config, table)}"  # noqa: S608
                query += f" WHERE entity_key IN ({','.join('?' * len(some))})"
                for key, name, value, event in connection.execute(query, some):
                    rows[key].append((name, value, event))
        return [_row(rows[key], requested_features) if key in rows else (None, None) for key in keys]

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove the file, and what WAL mode keeps beside it."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._local = threading.local()
        super().teardown(config, tables, entities)
        for suffix in ("-wal", "-shm"):
            Path(self._get_db_path(config) + suffix).unlink(missing_ok=True)

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        """Feast's own connection, for tables that are made and removed."""
        if self._conn is None:
            _persist_wal(super()._get_conn(config))
        connection: sqlite3.Connection = super()._get_conn(config)
        return connection

    def _connection(self, config: RepoConfig) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            timeout = config.online_store.busy_timeout_seconds
            path = self._get_db_path(config)
            connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
            _persist_wal(connection)
            self._local.connection = connection
            self._opened.append(connection)
        return connection

    @contextmanager
    def _reading(self, config: RepoConfig) -> Iterator[sqlite3.Connection]:
        """One snapshot for all statements in the block."""
        connection = self._connection(config)
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")

    @contextmanager
    def _writing(self, config: RepoConfig) -> Iterator[sqlite3.Connection]:
        connection = self._connection(config)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _persist_wal(connection: sqlite3.Connection) -> None:
    """The mode stays with the file; it survives a killed process, and a power cut may cost the last transactions."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _name(config: RepoConfig, table: FeatureView) -> str:
    name: str = compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
    return '"' + name.replace('"', '""') + '"'


def _key(config: RepoConfig, key: EntityKey) -> bytes:
    version = config.entity_key_serialization_version
    return bytes(serialize_entity_key(key, entity_key_serialization_version=version))


def _cells(config: RepoConfig, data: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    for entity_key, values, event, created in data:
        key, times = _key(config, entity_key), (to_moment(event), to_moment(created) if created else None)
        for name, value in values.items():
            text, _ = extract_text_and_num(value, False)
            yield (key, name, value.SerializeToString(), text, *times)


def _row(
    cells: Sequence[tuple[str, bytes, int]], requested: Sequence[str] | None
) -> tuple[datetime | None, dict[str, Value] | None]:
    values = {name: Value.FromString(value) for name, value, _ in cells if requested is None or name in requested}
    return to_datetime(max(event for _, _, event in cells)), values
