"""Measures reads of the SQLite online store while 150,000 rows are written: 16 reader processes, ours beside Feast's.

A reader asks for ten keys of a view of six features some times a second, through Feast, as a service would.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64

STORES = {"Feast": "sqlite", "Dovetail": "dovetail.online_store.sqlite.FreshSqliteOnlineStore"}
FEATURES = [f"f{number}" for number in range(6)]
N_ROWS, N_READERS, PAUSE_SECONDS = 150_000, 16, 0.2
NOW = datetime.now(UTC)


def main() -> None:
    """Print a line a store: seconds of the write, reads, errors, milliseconds of a read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=STORES, help="one of the two only")
    chosen = parser.parse_args().store
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the first run", flush=True)
    print("| store | write, s | reads | errors | median, ms | 99th percentile, ms | slowest, ms |")
    print("|---|---|---|---|---|---|---|")
    for name in [chosen] if chosen else STORES:
        print(f"| {name} | {measured(STORES[name])} |", flush=True)


def measured(online_store: str) -> str:
    """The cells of one store's line."""
    with tempfile.TemporaryDirectory() as folder:
        store, view = opened(Path(folder), online_store, apply=True)
        write(store, view, 0)
        context = multiprocessing.get_context("spawn")
        stop, ready, results = context.Event(), context.Semaphore(0), context.Queue()
        arguments = (folder, online_store, stop, ready, results)
        readers = [context.Process(target=read, args=(number, *arguments)) for number in range(N_READERS)]
        for reader in readers:
            reader.start()
        for _ in readers:
            ready.acquire()
        start = time.perf_counter()
        write(store, view, 1)
        seconds = time.perf_counter() - start
        stop.set()
        found = [results.get() for _ in readers]
        for reader in readers:
            reader.join()
    times = np.array([elapsed for of_reader, _ in found for elapsed in of_reader]) * 1000
    n_errors = sum(errors for _, errors in found)
    middle, high, most = np.percentile(times, [50, 99, 100]) if len(times) else (np.nan,) * 3
    return f"{seconds:.1f} | {len(times):,} | {n_errors} | {middle:.1f} | {high:.1f} | {most:.1f}"


def opened(folder: Path, online_store: str, *, apply: bool = False) -> tuple[FeatureStore, FeatureView]:
    """A store with one view, registered if asked."""
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    source = FileSource(name="rows", path=str(folder / "rows.parquet"), timestamp_field="event_timestamp")
    schema = [Field(name="driver", dtype=Int64), *(Field(name=name, dtype=Float64) for name in FEATURES)]
    view = FeatureView(name="rows", entities=[driver], ttl=timedelta(days=1), source=source, schema=schema)
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": online_store, "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = FeatureStore(config=config)
    if apply:
        store.apply([driver, view])
    return store, view


def write(store: FeatureStore, view: FeatureView, number: int) -> None:
    """All rows, each a second newer than before, as one batch."""
    event = NOW - timedelta(hours=1) + timedelta(seconds=number)
    values = {name: Value(double_val=number) for name in FEATURES}
    rows = [
        (EntityKey(join_keys=["driver"], entity_values=[Value(int64_val=key)]), values, event, None)
        for key in range(N_ROWS)
    ]
    store._get_provider().online_store.online_write_batch(store.config, view, rows, None)


def read(number: int, folder: str, online_store: str, stop: Any, ready: Any, results: Any) -> None:
    """Reads until it is stopped; puts the seconds of each, and the number of errors."""
    store, _ = opened(Path(folder), online_store)
    random = np.random.default_rng(number)
    refs = [f"rows:{name}" for name in FEATURES]
    times: list[float] = []
    n_errors = 0
    store.get_online_features(refs, {"driver": [0]})
    ready.release()
    while not stop.is_set():
        keys = random.integers(0, N_ROWS, 10).tolist()
        start = time.perf_counter()
        try:
            found = store.get_online_features(refs, {"driver": keys}).to_dict()
            n_errors += any(value is None for value in found["f0"])
        except Exception as error:  # noqa: BLE001 - of whatever kind, a reader has failed
            n_errors += 1
            print(f"reader {number}: {error}", file=sys.stderr)
        times.append(time.perf_counter() - start)
        time.sleep(PAUSE_SECONDS)
    results.put((times, n_errors))


if __name__ == "__main__":
    main()
