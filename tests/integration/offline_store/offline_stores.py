"""Both offline stores, as `feature_store.yaml` names them, in a Feast store of their own."""

from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore, RepoConfig

OFFLINE_STORES: dict[str, dict[str, Any]] = {
    "duckdb": {"type": "dovetail.offline_store.DuckDBAsofOfflineStore", "threads": 1},
    "spark": {
        "type": "dovetail.offline_store.spark.SparkUnionOfflineStore",
        "spark_conf": {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"},
    },
}
BOTH = ["duckdb", pytest.param("spark", marks=pytest.mark.slow)]


def feature_store(folder: Path, offline_store: dict[str, Any]) -> FeatureStore:
    """A feature store in a folder, with its registry and its online store there."""
    name = offline_store["type"].rpartition(".")[2]
    config = RepoConfig(
        project="test",
        provider="local",
        registry=str(folder / f"{name}.db"),
        online_store={"type": "sqlite", "path": str(folder / f"{name}_online.db")},
        offline_store=offline_store,
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)
