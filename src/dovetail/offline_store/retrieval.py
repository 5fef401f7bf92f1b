"""The job that Feast hands to its user: nothing is read before the result is asked for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage
from pyarrow.types import is_primitive

from dovetail.offline_store.moments import OfflineStoreError

ROWS_IN_GROUP = 262_144
FILE_IN_FOLDER = "dataset.parquet"


class DeferredRetrievalJob(RetrievalJob):  # type: ignore[misc]  # Feast is untyped
    """A read that has not happened yet; each `to_...` does it anew, on-demand features included.

    Args:
        read: The read itself, as a whole; it is given the seconds that it may take, or None.
        stream: The same in batches of at most so many rows, which need not fit into memory together.
        repo_path: Where relative paths to persist to start.
        full_feature_names: Whether features are called `view__feature`.
        on_demand_feature_views: What Feast computes on top of the read.
        metadata: What Feast records with a saved dataset; None for reads without label rows.
    """

    def __init__(
        self,
        read: Callable[[float | None], pa.Table],
        stream: Callable[[int, float | None], Iterator[pa.RecordBatch]],
        repo_path: Path | None,
        *,
        full_feature_names: bool = False,
        on_demand_feature_views: Sequence[OnDemandFeatureView] = (),
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._read, self._stream = read, stream
        self._repo_path = repo_path
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether features are called `view__feature`."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that Feast computes on top of the read."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """The features, keys and span of the label rows; None for reads without label rows."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._read(timeout)

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._read(timeout).to_pandas()
        return frame

    def to_arrow_batches(self, max_rows: int = 65_536, timeout: int | None = None) -> pa.RecordBatchReader:
        """The rows of `to_arrow`, in its order, in batches of at most `max_rows`; they are never all in memory."""
        batches = self._finished(self._stream(max_rows, timeout))
        first = next(batches, None)
        if first is None:
            return self.to_arrow(timeout=timeout).to_reader()
        # On-demand features of a batch of nulls may come with another type.
        alike = (batch if batch.schema == first.schema else batch.cast(first.schema) for batch in batches)
        return pa.RecordBatchReader.from_batches(first.schema, chain([first], alike))

    def _finished(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches with on-demand features, as Feast computes them of a whole."""
        if not self.on_demand_feature_views:
            yield from batches
            return
        for batch in batches:
            rows = pa.Table.from_batches([batch])
            part = DeferredRetrievalJob(
                lambda _timeout, rows=rows: rows,  # type: ignore[misc]
                self._stream,
                self._repo_path,
                full_feature_names=self._full_feature_names,
                on_demand_feature_views=self._on_demand_feature_views,
                metadata=self._metadata,
            )
            yield from part.to_arrow().combine_chunks().to_batches()

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the rows as one Parquet file, batch by batch, into a folder if there is one; it is whole or not there.

        Raises:
            SavedDatasetLocationAlreadyExists: something is there already, and `allow_overwrite` is false.
            OfflineStoreError: nothing may be written there.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise TypeError(f"storage must be a SavedDatasetFileStorage, not {type(storage).__name__}")
        options = storage.file_options
        uri = FileSource.get_uri_for_file_path(self._repo_path, options.uri)
        remote, path = FileSource.create_filesystem_and_path(uri, options.s3_endpoint_override)
        filesystem = remote or pyarrow.fs.LocalFileSystem()
        try:
            found = filesystem.get_file_info(path).type
            if found != pyarrow.fs.FileType.NotFound and not allow_overwrite:
                raise SavedDatasetLocationAlreadyExists(location=options.uri)
            filesystem.create_dir(str(Path(path).parent))
        except OSError as error:
            raise OfflineStoreError(
                f"a saved dataset cannot be written: {error}",
                where=f"to {uri}",
                expected="Expected: a file or folder that may be written to; in S3, in a bucket that is there.",
                todo="Correct the path of the storage; in S3 also its s3_endpoint_override, or the credentials.",
            ) from error
        path = f"{path}/{FILE_IN_FOLDER}" if found == pyarrow.fs.FileType.Directory else path
        _write(self.to_arrow_batches(ROWS_IN_GROUP, timeout), filesystem, path)


def _write(batches: pa.RecordBatchReader, filesystem: pyarrow.fs.FileSystem, path: str) -> None:
    partial = f"{path}.partial"
    # To look for equal numbers takes most of a writer's time, and seldom finds some.
    texts = [field.name for field in batches.schema if not is_primitive(field.type)]
    try:
        with pq.ParquetWriter(
            partial, batches.schema, filesystem=filesystem, compression="zstd", use_dictionary=texts
        ) as writer:
            for batch in batches:
                writer.write_batch(batch)
        filesystem.move(partial, path)
    except BaseException:
        with suppress(FileNotFoundError):
            filesystem.delete_file(partial)
        raise
