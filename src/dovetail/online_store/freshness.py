"""What the three stores share: rows as microseconds, and replies without what is too old."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from feast import FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig

# A row as Feast hands it over: key, value of each feature, event and created time.
Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_moment(at: datetime) -> int:
    """Microseconds since 1970 UTC; a time without a zone is in UTC, as everywhere in Feast."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND


def to_datetime(moment: int) -> datetime:
    """The time in UTC of microseconds since 1970."""
    return EPOCH + moment * MICROSECOND


class FreshReads:
    """Feast's reading of features, without values that are older than their time to live or not there yet."""

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        first = len(online_features_response.results)
        super()._read_features_per_fv(  # type: ignore[misc]
            config,
            grouped_refs,
            join_key_values,
            entity_name_to_join_key_map,
            online_features_response,
            full_feature_names,
            include_feature_view_version_metadata,
        )
        expire(online_features_response.results[first:], grouped_refs, _now(config))

    async def _read_features_per_fv_async(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        first = len(online_features_response.results)
        await super()._read_features_per_fv_async(  # type: ignore[misc]
            config,
            grouped_refs,
            join_key_values,
            entity_name_to_join_key_map,
            online_features_response,
            full_feature_names,
            include_feature_view_version_metadata,
        )
        expire(online_features_response.results[first:], grouped_refs, _now(config))


def expire(
    results: Sequence[GetOnlineFeaturesResponse.FeatureVector],
    grouped_refs: Iterable[tuple[FeatureView, Sequence[str]]],
    now: int,
) -> None:
    """Make the values null, status OUTSIDE_MAX_AGE, that are older than their view's time to live or after now.

    Args:
        results: A vector a feature, in the order of `grouped_refs`.
        grouped_refs: Each view with its features.
        now: Microseconds since 1970.
    """
    vectors = iter(results)
    for view, features in grouped_refs:
        of_view = [next(vectors) for _ in features]
        ttl = getattr(view, "ttl", None)
        for row in _dead(of_view[0].event_timestamps if of_view else (), ttl // MICROSECOND if ttl else None, now):
            for vector in of_view:
                vector.values[row].Clear()
                vector.statuses[row] = FieldStatus.OUTSIDE_MAX_AGE


def _dead(timestamps: Iterable[Any], ttl: int | None, now: int) -> Iterator[int]:
    for row, at in enumerate(timestamps):
        event = at.seconds * 1_000_000 + at.nanos // 1000
        # Zero is a key that is not there.
        if event and (event > now or (ttl is not None and now - event > ttl)):
            yield row


def _now(config: RepoConfig) -> int:
    return to_moment(config.online_store.now or datetime.now(UTC))
