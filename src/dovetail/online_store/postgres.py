"""The online store in PostgreSQL: connections come from a pool that survives the server, and go back to it."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from feast import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo
from feast.repo_config import RepoConfig
from psycopg import AsyncConnection, Connection, sql
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from pydantic import AwareDatetime, PositiveFloat

from dovetail.online_store.freshness import FreshReads, Row

NEWEST = sql.SQL("""
    INSERT INTO {table} AS there (entity_key, feature_name, value, value_text, event_ts, created_ts)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (entity_key, feature_name) DO UPDATE SET
        value = excluded.value, value_text = excluded.value_text,
        event_ts = excluded.event_ts, created_ts = excluded.created_ts
    WHERE excluded.event_ts > there.event_ts
        OR excluded.event_ts = there.event_ts AND coalesce(excluded.created_ts >= there.created_ts, TRUE)
""")


class FreshPostgreSQLOnlineStoreConfig(PostgreSQLOnlineStoreConfig):  # type: ignore[misc]  # Feast is untyped
    """`online_store` in `feature_store.yaml`; the rest is Feast's own, but `conn_type`: it is always a pool.

    Args:
        type: This store.
        now: What counts as now when a value's age is asked, for data of the past; None for the clock.
        timeout_seconds: How long to wait for a connection.
    """

    type: Literal["dovetail.online_store.postgres.FreshPostgreSQLOnlineStore"] = (
        "dovetail.online_store.postgres.FreshPostgreSQLOnlineStore"
    )
    now: AwareDatetime | None = None
    timeout_seconds: PositiveFloat = 5.0


class FreshPostgreSQLOnlineStore(FreshReads, PostgreSQLOnlineStore):  # type: ignore[misc]  # Feast is untyped
    """Feast's PostgreSQL store: the newest event wins, in the server; a failing query costs no connection.

    Vector search is not supported.
    """

    _conn_pool: ConnectionPool | None = None
    _conn_pool_async: AsyncConnectionPool | None = None

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write all rows, or none; a row that is older than what is there changes nothing.

        Raises:
            NotImplementedError: the store is configured for vector search.
        """
        if config.online_store.vector_enabled:
            raise NotImplementedError("FreshPostgreSQLOnlineStore has no vector search: set vector_enabled: false")
        name = compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
        cells = list(_cells(config, data))
        with self._get_conn(config) as connection, connection.cursor() as cursor:
            cursor.executemany(NEWEST.format(table=sql.Identifier(name)), cells)
        if progress:
            progress(len(data))

    @contextmanager
    def _get_conn(self, config: RepoConfig, autocommit: bool = False) -> Iterator[Connection]:
        """A connection that answers; it is committed, or rolled back after an error, and given back."""
        if self._conn_pool is None:
            self._conn_pool = ConnectionPool(**_pool(config), check=ConnectionPool.check_connection)
        with self._conn_pool.connection() as connection:
            connection.set_autocommit(autocommit)
            yield connection

    @asynccontextmanager
    async def _get_conn_async(self, config: RepoConfig, autocommit: bool = False) -> AsyncIterator[AsyncConnection]:
        if self._conn_pool_async is None:
            self._conn_pool_async = AsyncConnectionPool(
                **_pool(config), open=False, check=AsyncConnectionPool.check_connection
            )
            await self._conn_pool_async.open()
        async with self._conn_pool_async.connection() as connection:
            await connection.set_autocommit(autocommit)
            yield connection


def _pool(config: RepoConfig) -> dict[str, Any]:
    settings = config.online_store
    return {
        "conninfo": _get_conninfo(settings),
        "min_size": settings.min_conn,
        "max_size": settings.max_conn,
        "timeout": settings.timeout_seconds,
        "kwargs": {**_get_conn_kwargs(settings), "connect_timeout": max(2, round(settings.timeout_seconds))},
    }


def _cells(config: RepoConfig, data: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    version = config.entity_key_serialization_version
    for entity_key, values, event, created in data:
        key = bytes(serialize_entity_key(entity_key, entity_key_serialization_version=version))
        times = (_utc(event), _utc(created) if created else None)
        for name, value in values.items():
            text, _ = extract_text_and_num(value, False)
            yield (key, name, value.SerializeToString(), text, *times)


def _utc(at: datetime) -> datetime:
    """With a zone, since PostgreSQL takes a time without one to be in the session's."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)
