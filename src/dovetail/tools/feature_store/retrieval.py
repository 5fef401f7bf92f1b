"""Features as they were known at each label row's moment, through Feast and the offline store of its configuration."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from feast import FeatureStore
from feast.repo_config import RepoConfig

from dovetail.contracts.feature_tables import TIME
from dovetail.errors import FeatureError
from dovetail.offline_store import OfflineStoreError
from dovetail.tools.feature_store.configuration import feast_config
from dovetail.tools.feature_store.definitions import Definitions


def historical_features(
    definitions: Definitions, label_rows: pa.Table, feature_repo: Path, config_file: str
) -> pa.Table:
    """The label rows as they are, followed by each feature of the service as it was known at `event_timestamp`.

    Feast does it, with the offline store of `feature_repo/config_file`, on the files beside `feature_repo`. The
    definitions are registered in a temporary folder, so neither the user's feature registry nor a server is touched.

    Raises:
        FeatureError: the configuration cannot be used, or rows were lost or merged.
    """
    row = "dovetail_row"
    asked = label_rows.select([*dict.fromkeys([*definitions.join_keys, *definitions.request_columns]), TIME])
    asked = asked.append_column(row, pa.array(np.arange(label_rows.num_rows)))
    # It tells of each look into the registry.
    logging.getLogger("feast.infra.registry.registry").setLevel(logging.WARNING)
    with TemporaryDirectory() as folder:
        store = FeatureStore(config=_private_config(feature_repo.resolve(), config_file, Path(folder)))
        store.apply(list(definitions.objects))
        try:
            job = store.get_historical_features(entity_df=asked.to_pandas(), features=definitions.service)
            joined = job.to_arrow().sort_by(row)
        except OfflineStoreError as error:
            raise FeatureError(error.what, where=error.where, expected=error.expected, todo=error.todo) from error
    if not joined[row].combine_chunks().equals(asked[row].combine_chunks()):
        raise FeatureError(
            f"{joined.num_rows} rows came back for {label_rows.num_rows} label rows",
            where=f"from the offline store of {feature_repo / config_file}",
            expected="each label row once",
            todo="Use the offline store that keeps them:  type: dovetail.offline_store.DuckDBAsofOfflineStore",
        )
    for projection in definitions.service.feature_view_projections:
        for field in projection.features:
            label_rows = label_rows.append_column(field.name, joined[field.name])
    return label_rows


def _private_config(feature_repo: Path, config_file: str, folder: Path) -> RepoConfig:
    """With a registry of its own and no online store, whose client need not be installed."""
    return feast_config(feature_repo, config_file, registry=str(folder / "registry.db"), online_store=None)
