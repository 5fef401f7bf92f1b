"""Feast's own universal tests, told to use our offline store: `make feast-tests FEAST=path/to/feast`.

Feast's `tests/universal/feature_repos/repo_configuration.py` imports the module that FULL_REPO_CONFIGS_MODULE names,
and takes these two names from it.
"""

from tests.universal.feature_repos.universal.data_sources.file import FileDataSourceCreator

from dovetail.offline_store import DuckDBAsofOfflineStoreConfig


class DuckDBAsofDataSourceCreator(FileDataSourceCreator):
    """Sources in local Parquet files, read by our store."""

    def create_offline_store_config(self) -> DuckDBAsofOfflineStoreConfig:
        """Our store's settings; the tests want values that were created after the label rows' moments."""
        return DuckDBAsofOfflineStoreConfig(filter_by_created_timestamp=False)


AVAILABLE_OFFLINE_STORES = [("local", DuckDBAsofDataSourceCreator)]
AVAILABLE_ONLINE_STORES = {"sqlite": ({"type": "sqlite"}, None)}
