"""What a retrieval asks of a feature view, in plain column names: Feast's mappings and aliases end here."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.types import from_feast_to_pyarrow_type

from dovetail.offline_store.asof import History
from dovetail.offline_store.kinds import is_alike
from dovetail.offline_store.moments import MICROSECOND, OfflineStoreError
from dovetail.offline_store.names import check_features, features_by_view


@dataclass(frozen=True)
class RequestedView:
    """One feature view as asked for.

    Args:
        source: Where its rows are.
        keys: The name in the label rows of each join key column of the source.
        features: The column of the source for each name in the result.
        event: The source's event timestamp column.
        created: The source's created timestamp column; None when it has none.
        ttl: The time to live in microseconds; None for ever.
        types: What the view says that features are, by the source's column.
    """

    source: DataSource
    keys: dict[str, str]
    features: dict[str, str]
    event: str
    created: str | None
    ttl: int | None
    types: dict[str, pa.DataType]

    @property
    def timestamps(self) -> list[str]:
        """The source's timestamp columns."""
        return [column for column in (self.event, self.created) if column]

    @property
    def columns(self) -> list[str]:
        """The source's columns that are read."""
        return [*self.keys, *self.features.values(), *self.timestamps]

    def check_names(self, others: Set[str]) -> None:
        """Nothing, when no feature is called like one of the other columns of the result.

        Raises:
            OfflineStoreError: some are; all of them.
        """
        taken = [name for name in self.features if name in others]
        if taken:
            raise OfflineStoreError(
                f"features are called like columns of the label rows: {', '.join(taken[:10])}",
                where=f"source '{self.source.name}'",
                expected="Expected: a name for each column.",
                todo="Rename the columns, or ask with full_feature_names=True.",
            )

    def check_types(self, schema: pa.Schema, where: str) -> None:
        """Nothing, when each feature has the kind of type in the source that the view says; keys need not say one.

        Raises:
            OfflineStoreError: text stands where numbers are said, a list where a value is, and so on; all of them.
        """
        wrong = [
            f"'{column}' is {schema.field(column).type}, not {dtype}"
            for column, dtype in self.types.items()
            if not is_alike(schema.field(column).type, dtype)
        ]
        if wrong:
            raise OfflineStoreError(
                f"columns are of another type than the view says: {', '.join(wrong[:10])}",
                where=f"in {where}",
                expected="Expected: the types of the view's fields.",
                todo="Correct the file, or the Field's dtype.",
            )

    def history(self, relation: str) -> History:
        """The view's feature rows, in a relation."""
        return History(relation, tuple(self.keys), self.event, self.created, tuple(self.features.values()), self.ttl)


def requested_views(
    views: Sequence[FeatureView],
    on_demand: Sequence[OnDemandFeatureView],
    feature_refs: Sequence[str],
    full_feature_names: bool,
) -> list[RequestedView]:
    """What a list of feature references (`view:feature`) asks of each view; nothing is asked of a view without one.

    Raises:
        OfflineStoreError: views or features are not there; all of them, each with the nearest names.
    """
    asked = features_by_view(feature_refs)
    names = {view.projection.name_to_use(): [field.name for field in view.features] for view in [*views, *on_demand]}
    check_features(asked, names)
    features = [(view, asked.get(view.projection.name_to_use(), [])) for view in views]
    return [_requested(view, of_view, full_feature_names) for view, of_view in features if of_view]


def _requested(view: FeatureView, features: Sequence[str], full_feature_names: bool) -> RequestedView:
    """What is asked of a view, its columns as the source calls them.

    A view without an entity has no keys. A time to live of zero is none, as everywhere in Feast.
    """
    source: Any = view.batch_source
    column_of = {feast_name: column for column, feast_name in (source.field_mapping or {}).items()}
    # A pinned version is asked for as `view@v2`, but its features are called after `view`.
    prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    keys = [field.name for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]
    created = source.created_timestamp_column or None
    return RequestedView(
        source=source,
        keys={column_of.get(key, key): view.projection.join_key_map.get(key, key) for key in keys},
        features={prefix + feature: column_of.get(feature, feature) for feature in features},
        event=column_of.get(source.timestamp_field, source.timestamp_field),
        created=column_of.get(created, created) if created else None,
        ttl=view.ttl // MICROSECOND if view.ttl else None,
        types={
            column_of.get(field.name, field.name): from_feast_to_pyarrow_type(field.dtype)
            for field in view.features
            if field.name in features
        },
    )
