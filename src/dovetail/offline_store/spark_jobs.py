"""The jobs that Feast hands to its user, as Spark runs them: as a whole, and no longer than they may."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pyarrow as pa
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.repo_config import RepoConfig

from dovetail.offline_store.moments import OfflineStoreError
from dovetail.offline_store.retrieval import DeferredRetrievalJob
from dovetail.offline_store.spark_session import session


def job(read: Callable[[], pa.Table], config: RepoConfig, **more: Any) -> RetrievalJob:
    """A job of Feast's for a read as a whole, which hands it out in batches too."""

    def whole(timeout: float | None) -> pa.Table:
        with _stopped_after(config, timeout):
            return read()

    def stream(max_rows: int, timeout: float | None) -> Iterator[pa.RecordBatch]:
        yield from whole(timeout).combine_chunks().to_batches(max_rows)

    return DeferredRetrievalJob(whole, stream, config.repo_path, **more)


@contextmanager
def _stopped_after(config: RepoConfig, timeout: float | None) -> Iterator[None]:
    """Cancels whatever Spark runs for the block once the time is over, in seconds."""
    if timeout is None:
        yield
        return
    context, group, is_over = session(config).sparkContext, uuid4().hex, Event()
    end = time.monotonic() + timeout

    def watch() -> None:
        if not is_over.wait(timeout):
            # Between two of its jobs there is nothing to cancel.
            while not is_over.wait(0.1):
                context.cancelJobGroup(group)

    context.setJobGroup(group, "dovetail", interruptOnCancel=True)
    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except Exception as error:
        # Of whatever kind: a job that is cancelled in the middle ends in many ways.
        if time.monotonic() <= end:
            raise
        raise _late(timeout) from error
    else:
        # It may end by itself before it is cancelled.
        if time.monotonic() > end:
            raise _late(timeout)
    finally:
        is_over.set()
        watcher.join()
        context.setLocalProperty("spark.jobGroup.id", None)


def _late(timeout: float) -> OfflineStoreError:
    return OfflineStoreError(
        f"the query took longer than {timeout} s",
        where="on Spark, and was stopped.",
        expected="Expected: an end within `timeout`.",
        todo="Ask for fewer label rows or views, or give it more time.",
    )
