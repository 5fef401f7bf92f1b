"""Point-in-time reads with Spark.

A view's feature rows and the label rows go into one union, which a window runs over by key and time: what it saw last
is what was known. Nothing is joined, so a long history costs no more than a short one.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.repo_config import RepoConfig
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import to_arrow_schema

from dovetail.offline_store.label_rows import EVENT_TIMESTAMP, LabelRows
from dovetail.offline_store.moments import OfflineStoreError, to_moment, warn_of_naive
from dovetail.offline_store.sources import Rows
from dovetail.offline_store.spark_jobs import job
from dovetail.offline_store.spark_session import session
from dovetail.offline_store.views import RequestedView

PLACE = ("filename", "file_row_number")


def _open(config: RepoConfig, source: DataSource | None) -> tuple[DataFrame, Rows]:
    """A source's rows with `filename, file_row_number`, which say where a row lies, and its columns."""
    if not isinstance(source, FileSource) or not isinstance(source.file_format, ParquetFormat | None):
        raise OfflineStoreError(
            f"a source of kind {type(source).__name__} cannot be read",
            where=f"source '{source.name if source else None}'",
            expected="Expected: a FileSource of Parquet files.",
            todo="Change the feature view's source, or use another offline store for it.",
        )
    path = str(FileSource.get_uri_for_file_path(config.repo_path, source.path))
    try:
        frame = _read(config, path)
    except (PySparkException, Py4JJavaError) as error:
        # What Hadoop says, as of a scheme that it does not know, comes from Java as it is.
        said = error.java_exception.getMessage() if isinstance(error, Py4JJavaError) else str(error)
        raise OfflineStoreError(
            f"a source cannot be read: {said.strip().splitlines()[0][:200]}",
            where=f"at {path}",
            expected="Expected: a Parquet file, a folder of them or a pattern, where every executor can read it.",
            todo="Make the file, or correct the path of the FileSource"
            + (", or add what Spark needs for it: docs/spark.md." if "://" in path else "."),
        ) from error
    schema = to_arrow_schema(frame.schema, timezone="UTC")
    schema = schema if "://" in path else _local_schema(path, schema)
    place = [f.col("_metadata.file_path").alias(PLACE[0]), f.col("_metadata.row_index").alias(PLACE[1])]
    return frame.select("*", *place), Rows(path, schema, path)


def _read(config: RepoConfig, path: str) -> DataFrame:
    """All files below a path: Spark's way knows `name=value` folders and skips others, its deep way the reverse."""
    location = path if "://" in path else _pattern(path)
    deep = session(config).read.option("recursiveFileLookup", "true").parquet(location)
    folders = (file.split(path)[-1].rpartition("/")[0] for file in deep.inputFiles())
    return session(config).read.parquet(location) if any("=" in folder for folder in folders) else deep


def _pattern(path: str) -> str:
    """What Spark calls a local path: a file or folder that exists keeps its name, whatever it looks like."""
    return re.sub(r"([\\[\]{}*?])", r"\\\1", path) if Path(path).exists() else path


def _local_schema(path: str, schema: pa.Schema) -> pa.Schema:
    """Spark's schema, but with nanoseconds, which Spark reads as whole numbers."""
    if "*" in path:
        return schema
    known = pyarrow.dataset.dataset(path, format="parquet").schema
    return pa.schema([known.field(name) if name in known.names else schema.field(name) for name in schema.names])


def _moment(column: str, kind: pa.DataType) -> Column:
    """A timestamp column of any unit as microseconds since 1970 UTC."""
    if kind.unit == "ns":
        # `/` would divide as floating point, which cannot hold today's nanoseconds.
        return f.expr(f"({_quoted(column)} - pmod({_quoted(column)}, 1000)) div 1000")
    return f.unix_micros(f.col(_quoted(column)).cast("timestamp"))


def _quoted(name: str) -> str:
    escaped = name.replace("`", "``")
    return f"`{escaped}`"


def _as_stored(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """With the type of the source; what is finer than a microsecond is lost."""
    return column.cast(kind) if pa.types.is_timestamp(kind) else column


def _value(column: str, kind: pa.DataType) -> Column:
    is_ns = pa.types.is_timestamp(kind) and kind.unit == "ns"
    return f.timestamp_micros(_moment(column, kind)) if is_ns else f.col(_quoted(column))


def join(config: RepoConfig, labels: LabelRows, views: Sequence[RequestedView], created_counts: bool) -> pa.Table:
    """The label rows with each view's features appended.

    Raises:
        OfflineStoreError: a source, a column or a key is not what a view says; all that is wrong with all is said.
    """
    table, naive = labels.table, list(labels.naive)
    sources, errors, taken = [], [], set(table.column_names)
    for view in views:
        try:
            view.check_names(taken)
            taken |= set(view.features)
            frame, rows = _open(config, view.source)
            naive += rows.check(view.columns, view.timestamps)
            view.check_types(rows.schema, rows.where)
            keyed = labels.keyed(list(view.keys.values()), [rows.schema.field(key).type for key in view.keys])
            sources.append((view, frame, rows, keyed))
        except OfflineStoreError as error:
            errors.append(error)
    if errors:
        raise OfflineStoreError.of_all(errors)
    for view, frame, rows, keyed in sources:
        found = _known(config, view, frame, rows, keyed, labels.span or (0, 0), created_counts)
        for (name, of), column in zip(view.features.items(), found.columns[1:], strict=True):
            table = table.append_column(name, _as_stored(column, rows.schema.field(of).type))
    warn_of_naive(naive)
    return table


def _known(
    config: RepoConfig,
    view: RequestedView,
    frame: DataFrame,
    rows: Rows,
    keyed: pa.Table,
    span: tuple[int, int],
    created_counts: bool,
) -> pa.Table:
    """`row_id` and the features known at each label row's moment, in the order of `row_id`."""
    keys = [f"key_{i}" for i in range(len(view.keys))]
    names = [f"feature_{i}" for i in range(len(view.features))]
    history = _history(view, frame, rows, created_counts).where(f.col("at") <= span[1])
    if view.ttl is not None:
        history = history.where(f.col("event") >= span[0] - view.ttl)
    labels = session(config).createDataFrame(keyed.cast(_plain(keyed.schema))).withColumnRenamed("moment", "at")
    both = history.unionByName(labels, allowMissingColumns=True)
    order = [f.col("at"), f.col("row_id").asc_nulls_first(), f.col("event"), f.col("created").asc_nulls_first()]
    past = Window.partitionBy(*keys).orderBy(*order, *PLACE).rowsBetween(Window.unboundedPreceding, 0)
    # A row that is older than one known already can never be the newest known one.
    is_newest = f.col("event") == f.max("event").over(past)
    best = both.withColumn("candidate", f.when(is_newest, f.struct("event", *names)))
    best = best.withColumn("best", f.last("candidate", ignorenulls=True).over(past)).where(f.col("row_id").isNotNull())
    alive = f.lit(True) if view.ttl is None else f.col("best.event") >= f.col("at") - view.ttl
    features = [f.when(alive, f.col(f"best.{name}")).alias(name) for name in names]
    return best.select("row_id", *features).toArrow().sort_by("row_id")


def _plain(schema: pa.Schema) -> pa.Schema:
    """Without dictionaries, which Spark does not take."""
    kinds = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in schema]
    return pa.schema(list(zip(schema.names, kinds, strict=True)))


def _history(view: RequestedView, frame: DataFrame, rows: Rows, created_counts: bool) -> DataFrame:
    """The feature rows under names of our own; `at` is the moment at which a row became known."""
    event = _moment(view.event, rows.schema.field(view.event).type)
    created = _moment(view.created, rows.schema.field(view.created).type) if view.created else f.lit(None).cast("long")
    by_created = created_counts and view.created is not None
    features = list(view.features.values())
    columns = {
        **{f"key_{i}": f.col(_quoted(key)) for i, key in enumerate(view.keys)},
        **{f"feature_{i}": _value(name, rows.schema.field(name).type) for i, name in enumerate(features)},
        "event": event,
        "created": created,
        "at": f.when(created.isNotNull(), f.greatest(event, created)) if by_created else event,
    }
    history = frame.select(*(column.alias(name) for name, column in columns.items()), *PLACE)
    # A null key meets nothing, nor is a row without a time ever known.
    needed = [f.col(name).isNotNull() for name in (*(f"key_{i}" for i in range(len(view.keys))), "event", "at")]
    return history.where(reduce(lambda both, one: both & one, needed))


def events(config: RepoConfig, views: Sequence[RequestedView], start: int, end: int) -> DataFrame:
    """Every event of the views in a span of time, both ends included: each once, in order."""
    parts = []
    for view in views:
        frame, rows = _open(config, view.source)
        rows.check([*view.keys, *view.timestamps], view.timestamps)
        event = _moment(view.event, rows.schema.field(view.event).type)
        keys = [f.col(_quoted(key)).alias(name) for key, name in view.keys.items()]
        parts.append(
            frame.where((event >= start) & (event <= end))
            .select(f.timestamp_micros(event).alias(EVENT_TIMESTAMP), *keys)
            .distinct()
        )
    events = reduce(lambda both, one: both.unionByName(one, allowMissingColumns=True), parts).distinct()
    return events.orderBy(*events.columns)


def pull(
    config: RepoConfig,
    source: DataSource,
    columns: tuple[list[str], str, str | None, list[str]],
    dates: tuple[datetime | None, datetime | None],
    *,
    latest_only: bool,
) -> RetrievalJob:
    """A job for the rows of a source between two dates; `columns` are keys, event, created and features."""
    keys, event, created, features = columns
    start, end = (to_moment(date) if date else None for date in dates)
    times = [event, created] if created else [event]

    def read() -> pa.Table:
        frame, rows = _open(config, source)
        warn_of_naive(rows.check([*keys, *times, *features], times))
        moments = {name: _moment(name, rows.schema.field(name).type) for name in times}
        chosen = frame.where(moments[event].isNotNull())
        for bound, beyond in ((start, moments[event] >= start), (end, moments[event] <= end)):
            chosen = chosen.where(beyond) if bound is not None else chosen
        if latest_only:
            newest = Window.partitionBy(*map(_quoted, keys)).orderBy(
                *(moments[name].desc_nulls_last() for name in times), *(f.col(name).desc() for name in PLACE)
            )
            chosen = chosen.withColumn("newest_first", f.row_number().over(newest)).where("newest_first = 1")
        asked = list(dict.fromkeys([*keys, *(features or rows.schema.names), *times]))
        values = {name: _value(name, rows.schema.field(name).type) for name in asked}
        values |= {name: f.timestamp_micros(moment) for name, moment in moments.items()}
        order = [
            *(f.col(_quoted(key)).asc_nulls_last() for key in keys),
            *(moment.asc_nulls_last() for moment in moments.values()),
            *PLACE,
        ]
        table = chosen.orderBy(*order).select(*(value.alias(name) for name, value in values.items())).toArrow()
        return table if keys else table.append_column(DUMMY_ENTITY_ID, pa.repeat(DUMMY_ENTITY_VAL, table.num_rows))

    return job(read, config)
