"""The online store in Redis: the server itself decides which row is the newest."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from feast import FeatureView
from feast.infra.online_stores.helpers import _mmh3, _redis_key, compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import AwareDatetime, PositiveFloat

from dovetail.online_store.freshness import FreshReads, Row, to_datetime, to_moment

ROWS_AT_ONCE = 5_000
# One row of one view: KEYS[1] is the entity's hash; ARGV: the field with the row's times, event, created ("" when
# unknown), seconds to live (0 for ever), and then fields and values. A script runs alone, so no other write comes
# between the look and the change: https://redis.io/docs/latest/develop/programmability/eval-intro/
# Lua counts in doubles, which hold microseconds until the year 2255.
NEWEST = """
local there = redis.call('HGET', KEYS[1], ARGV[1])
if there then
    local event, created = string.match(there, '^(-?%d+):(-?%d*)$')
    local newer = tonumber(ARGV[2]) - tonumber(event)
    if newer < 0 then return 0 end
    if newer == 0 and ARGV[3] ~= '' and created ~= '' and tonumber(ARGV[3]) < tonumber(created) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[3], unpack(ARGV, 5))
if ARGV[4] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return 1
"""


class FreshRedisOnlineStoreConfig(RedisOnlineStoreConfig):  # type: ignore[misc]  # Feast is untyped
    """`online_store` in `feature_store.yaml`; the rest is Feast's own.

    Args:
        type: This store.
        now: What counts as now when a value's age is asked, for data of the past; None for the clock.
        timeout_seconds: How long to wait for the server, where the connection string does not say it.
    """

    type: Literal["dovetail.online_store.redis.FreshRedisOnlineStore"] = (
        "dovetail.online_store.redis.FreshRedisOnlineStore"
    )
    now: AwareDatetime | None = None
    timeout_seconds: PositiveFloat = 2.0


class FreshRedisOnlineStore(FreshReads, RedisOnlineStore):  # type: ignore[misc]  # Feast is untyped
    """Feast's Redis store; of one event a value that is created later replaces the one that is there.

    A row is written whole or not at all; rows of one write are seen one after the other. One server, or one behind
    Sentinel: a cluster is not supported.
    """

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write the rows; one that is older than what is there changes nothing.

        Raises:
            NotImplementedError: the store is configured for a cluster.
        """
        client = self._get_client(config.online_store)
        newest = client.register_script(NEWEST)
        for first in range(0, len(data), ROWS_AT_ONCE):
            some = data[first : first + ROWS_AT_ONCE]
            with client.pipeline(transaction=False) as pipe:
                for key, arguments in _calls(config, table, some):
                    newest(keys=[key], args=arguments, client=pipe)
                pipe.execute()
            if progress:
                progress(len(some))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """As `online_write_batch`, in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def _get_client(self, online_store_config: FreshRedisOnlineStoreConfig) -> Any:
        return super()._get_client(_with_deadlines(online_store_config))

    async def _get_client_async(self, online_store_config: FreshRedisOnlineStoreConfig) -> Any:
        return await super()._get_client_async(_with_deadlines(online_store_config))


def _with_deadlines(settings: FreshRedisOnlineStoreConfig) -> FreshRedisOnlineStoreConfig:
    if settings.redis_type == RedisType.redis_cluster:
        raise NotImplementedError("FreshRedisOnlineStore does not write to a cluster: set redis_type: redis")
    said = settings.connection_string
    names = ("socket_timeout", "socket_connect_timeout")
    missing = [f"{name}={settings.timeout_seconds}" for name in names if f"{name}=" not in said]
    changed: FreshRedisOnlineStoreConfig = settings.model_copy(update={"connection_string": ",".join([said, *missing])})
    return changed


def _calls(config: RepoConfig, table: FeatureView, data: Sequence[Row]) -> Iterator[tuple[bytes, list[Any]]]:
    """The key and the arguments of the script for each row."""
    view = compute_versioned_name(table, config.registry.enable_online_feature_view_versioning)
    version = config.entity_key_serialization_version
    for entity_key, values, event, created in data:
        moment = to_moment(event)
        at = Timestamp()
        at.FromDatetime(to_datetime(moment))
        cells: list[Any] = [f"_ts:{view}", at.SerializeToString()]
        for name, value in values.items():
            cells += [_mmh3(f"{view}:{name}"), value.SerializeToString()]
        times = [f"_at:{view}", moment, to_moment(created) if created else "", config.online_store.key_ttl_seconds or 0]
        yield _redis_key(config.project, entity_key, entity_key_serialization_version=version), [*times, *cells]
