"""Sources in a real S3 server give the answer of the same files on disk, and never fill the memory."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.credentials import ConnectionRef, CredentialProvider, register_credential_provider
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Float64, Int64, String

from dovetail.offline_store import OfflineStoreError
from servers import free_port, program, wait_for

pytestmark = pytest.mark.slow

START = datetime(2024, 1, 1, tzinfo=UTC)
KEY, SECRET = "dovetail", "not to be told"
SHOP = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)
FEATURES = ["sales:sold", "sales:region", "visits:visitors", "weather:rain"]
PARTS = ("master", "volume", "filer", "s3")
# A label row a shop and 600,000 feature rows of 40 numbers, 200 MB: DuckDB may have 60 MB.
LARGE = r"""
import re, sys
from pathlib import Path
import pandas as pd
from feast import FeatureStore
peak = lambda: int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
store = FeatureStore(repo_path=sys.argv[1])
labels = pd.DataFrame({"shop": range(20_000), "event_timestamp": pd.Timestamp("2025-01-01", tz="UTC")})
job = store.get_historical_features(labels, [f"large:f{n}" for n in range(40)])
before = peak()
found = job.to_arrow()
print(found.num_rows, sum(found[f"f{n}"].null_count for n in range(40)), (peak() - before) // 1024)
"""


class S3:
    """A running S3 server with a bucket `shops` for one user."""

    def __init__(self, folder: Path) -> None:
        """Start it, on loopback alone."""
        user = {"name": "feast", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (folder / "users.json").write_text(json.dumps({"identities": [user]}))
        ports = {f"{part}.port{kind}": free_port() for part in PARTS for kind in ("", ".grpc")}
        self.sockets = [Path(f"/tmp/seaweedfs-{part}-grpc-{ports[f'{part}.port.grpc']}.sock") for part in PARTS]
        command = [
            program("weed"),
            "server",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-master.telemetry=false",
            "-filer",
            f"-filer.localSocket={folder}/filer.sock",
            "-s3",
            f"-s3.localSocket={folder}/s3.sock",
            f"-s3.config={folder}/users.json",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *(f"-{name}={port}" for name, port in ports.items()),
        ]
        with (folder / "log").open("w") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(ports["s3.port"])
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        self.files = pyarrow.fs.S3FileSystem(
            endpoint_override=self.endpoint, access_key=KEY, secret_key=SECRET, allow_bucket_creation=True
        )
        self.files.create_dir("shops")

    def stop(self) -> None:
        """End it at once, and clear away what it leaves behind."""
        self.server.kill()
        self.server.wait()
        for socket in self.sockets:
            socket.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The server, until the module's tests are done."""
    made = S3(tmp_path_factory.mktemp("s3"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a user of S3."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def made_of(folder: Path, root: str, **more: Any) -> FeatureStore:
    """A store whose three views lie below a folder or a bucket: a partitioned folder, a file and a pattern."""
    views = []
    for name, path, entities, fields in (
        ("sales", "sales[all]", [SHOP], [Field(name="sold", dtype=Int64), Field(name="region", dtype=String)]),
        ("visits", "visits.parquet", [SHOP], [Field(name="visitors", dtype=Int64)]),
        ("weather", "weather/*.parquet", [], [Field(name="rain", dtype=Float64)]),
    ):
        source = FileSource(
            name=name,
            path=f"{root}/{path}",
            timestamp_field="event_timestamp",
            created_timestamp_column="" if name == "weather" else "created",
            **more,
        )
        keys = [Field(name=one.name, dtype=Int64) for one in entities]
        ttl = timedelta(hours=20)
        views.append(FeatureView(name=name, entities=entities, ttl=ttl, source=source, schema=[*keys, *fields]))
    config = RepoConfig(
        project="test",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store={"type": "dovetail.offline_store.DuckDBAsofOfflineStore", "threads": 2},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = FeatureStore(config=config)
    store.apply([SHOP, *views])
    return store


def moments(random: np.random.Generator, n: int) -> pd.DatetimeIndex:
    """Moments in nanoseconds on a coarse grid, so that many are equal."""
    return pd.DatetimeIndex([START + timedelta(hours=int(hour)) for hour in random.integers(0, 60, n)]).as_unit("ns")


@pytest.fixture(scope="module")
def stores(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureStore]:
    """The same files on disk and in S3, with a store each; many rows differ in their place alone."""
    folder, random, n = tmp_path_factory.mktemp("shops"), np.random.default_rng(3), 2000
    shops = {"shop": random.integers(0, 9, n), "event_timestamp": moments(random, n), "created": moments(random, n)}
    sales, visits = pd.DataFrame({**shops, "sold": range(n)}), pd.DataFrame({**shops, "visitors": range(n)})
    weather = pd.DataFrame({"event_timestamp": moments(random, 60), "rain": random.normal(size=60)})
    files = {"visits.parquet": visits, "weather/a.parquet": weather[::2], "weather/b.parquet": weather[1::2]}
    for number in range(6):
        files[f"sales[all]/region={'nesw'[number % 4]}/{number}.parquet"] = sales[number::6]
    for name, frame in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / name, row_group_size=100)
        s3.files.create_dir(str(Path(f"shops/{name}").parent))
        pq.write_table(pa.Table.from_pandas(frame), f"shops/{name}", filesystem=s3.files, row_group_size=100)
    (folder / "s3").mkdir()
    return {
        "disk": made_of(folder, str(folder)),
        "s3": made_of(folder / "s3", "s3://shops", s3_endpoint_override=s3.endpoint),
    }


def labels(n: int = 1000) -> pd.DataFrame:
    """Label rows of known and unknown shops."""
    random = np.random.default_rng(5)
    return pd.DataFrame({"shop": random.integers(0, 10, n), "event_timestamp": moments(random, n)})


def refused(store: FeatureStore) -> str:
    """What a store says to a question that it cannot answer."""
    with pytest.raises(OfflineStoreError) as failure:
        store.get_historical_features(labels(3), FEATURES).to_arrow()
    return str(failure.value)


def test_historical_features_are_those_of_the_disk(stores: dict[str, FeatureStore]) -> None:
    """Values, types and order are equal, as a whole and in batches, for label rows and between two dates."""
    disk, s3 = (store.get_historical_features(labels(), FEATURES) for store in stores.values())
    assert s3.to_arrow().equals(disk.to_arrow())
    assert s3.to_arrow_batches(100).read_all().equals(disk.to_arrow())
    assert all(0 < disk.to_arrow()[name.split(":")[1]].null_count < 1000 for name in FEATURES[:3])
    dates = {"start_date": START, "end_date": START + timedelta(hours=30)}
    disk, s3 = (store.get_historical_features(features=FEATURES[:3], **dates) for store in stores.values())
    assert s3.to_arrow().equals(disk.to_arrow())


@pytest.mark.parametrize("name", ["sales", "visits"])
@pytest.mark.parametrize("latest", [True, False], ids=["latest", "all"])
def test_pulls_are_those_of_the_disk(stores: dict[str, FeatureStore], name: str, latest: bool) -> None:
    """Rows that differ in their place alone come in the order of their places."""
    found = []
    for store in stores.values():
        offline, view = store._get_provider().offline_store, store.get_feature_view(name)
        pull = offline.pull_latest_from_table_or_query if latest else offline.pull_all_from_table_or_query
        features = [field.name for field in view.features]
        dates = (START + timedelta(hours=5), START + timedelta(hours=50))
        found.append(pull(store.config, view.batch_source, ["shop"], features, "event_timestamp", "created", *dates))
    disk, s3 = (job.to_arrow() for job in found)
    assert s3.equals(disk)
    assert disk.num_rows == 9 if latest else disk.num_rows > 100


def test_the_online_store_is_filled_from_s3(stores: dict[str, FeatureStore]) -> None:
    """Materialized from S3 and from disk, it holds the same."""
    found = []
    for store in stores.values():
        store.materialize(START, START + timedelta(hours=60))
        found.append(store.get_online_features(FEATURES, [{"shop": shop} for shop in range(10)]).to_dict())
    assert found[0] == found[1]
    assert found[0]["visitors"].count(None) == 1


def test_results_are_saved_in_s3(stores: dict[str, FeatureStore], s3: S3) -> None:
    """A file in a folder that was not there, read back by the store itself; a second one does not replace it."""
    store = stores["s3"]
    job = store.get_historical_features(labels(), FEATURES)
    storage = SavedDatasetFileStorage("s3://shops/saved/one.parquet", s3_endpoint_override=s3.endpoint)
    saved = store.create_saved_dataset(job, "one", storage)
    assert pq.read_table("shops/saved/one.parquet", filesystem=s3.files).equals(job.to_arrow())
    assert len(saved.to_df()) == 1000
    assert [file.path for file in s3.files.get_file_info(pyarrow.fs.FileSelector("shops/saved"))] == [
        "shops/saved/one.parquet"
    ]
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)
    nowhere = SavedDatasetFileStorage("s3://nowhere/one.parquet", s3_endpoint_override=s3.endpoint)
    with pytest.raises(OfflineStoreError, match="Bucket 'nowhere' not found") as failure:
        job.persist(nowhere)
    assert "to s3://nowhere/one.parquet" in str(failure.value)


def test_what_is_not_there_is_named_by_its_url(s3: S3, tmp_path: Path) -> None:
    """A missing file, an empty folder and a bucket that is none, all at once."""
    said = refused(made_of(tmp_path, "s3://nowhere", s3_endpoint_override=s3.endpoint))
    assert "3 feature views cannot be read" in said
    assert 'No files found that match the pattern "s3://nowhere/visits.parquet", at s3://nowhere/visits.parquet' in said
    assert 'No files found that match the pattern "s3://nowhere/weather/*.parquet"' in said


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_refused(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The message has the URL and what to look at, and no secret; nor is a result saved."""
    monkeypatch.setenv(name, "wrong")
    said = refused(made_of(tmp_path, "s3://shops", s3_endpoint_override=s3.endpoint))
    assert "ACCESS_DENIED" in said
    assert "at s3://shops/visits.parquet" in said
    assert said.endswith("its s3_endpoint_override, or the credentials (AWS_ACCESS_KEY_ID and so on).")
    assert SECRET not in said
    assert "wrong" not in said


def test_credentials_may_be_the_sources_own(
    s3: S3, stores: dict[str, FeatureStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feast's reference to credentials wins over the environment; one that leads nowhere is said."""

    class Safe(CredentialProvider):
        def provider_type(self) -> str:
            return "safe"

        def resolve(self, ref: ConnectionRef) -> dict[str, str]:
            return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    register_credential_provider(Safe())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    own = {"s3_endpoint_override": s3.endpoint, "connection_ref": ConnectionRef(provider="safe", name="shops")}
    found = made_of(tmp_path, "s3://shops", **own).get_historical_features(labels(), FEATURES).to_arrow()
    assert found.equals(stores["disk"].get_historical_features(labels(), FEATURES).to_arrow())
    own["connection_ref"] = ConnectionRef(provider="drawer", name="shops")
    assert "No CredentialProvider registered for type 'drawer'" in refused(made_of(tmp_path, "s3://shops", **own))


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Nobody answers at the endpoint."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    said = refused(made_of(tmp_path, "s3://shops", s3_endpoint_override=endpoint))
    assert "NETWORK_CONNECTION" in said
    assert "at s3://shops/visits.parquet" in said


def test_nothing_is_appended_to_s3(stores: dict[str, FeatureStore]) -> None:
    """A write to a source in S3 is refused, with the way out."""
    rows = pd.DataFrame({"shop": [1], "event_timestamp": [START], "created": [START], "visitors": [1]})
    with pytest.raises(OfflineStoreError, match="only local sources can be appended to") as failure:
        stores["s3"].write_to_offline_store("visits", rows, reorder_columns=False)
    assert "not s3://shops/visits.parquet" in str(failure.value)


def test_a_history_larger_than_memory_is_read(s3: S3, tmp_path: Path) -> None:
    """DuckDB has a quarter of what the history takes, and the process does not grow by as much as it."""
    random, n = np.random.default_rng(1), 600_000
    times = pa.array(np.arange(n) * 1_000_000 + 1_700_000_000_000_000, pa.timestamp("us", "UTC"))
    columns = {f"f{number}": random.normal(size=n) for number in range(40)}
    table = pa.table({"shop": np.arange(n) % 20_000, "event_timestamp": times, **columns})
    pq.write_table(table, "shops/large.parquet", filesystem=s3.files, row_group_size=20_000)
    store = made_of(tmp_path, "s3://shops")
    source = FileSource(
        name="large",
        path="s3://shops/large.parquet",
        timestamp_field="event_timestamp",
        s3_endpoint_override=s3.endpoint,
    )
    schema = [Field(name="shop", dtype=Int64), *(Field(name=name, dtype=Float64) for name in columns)]
    store.apply(FeatureView(name="large", entities=[SHOP], source=source, schema=schema))
    settings = f"""
        project: test
        registry: {tmp_path}/registry.db
        provider: local
        online_store: {{path: {tmp_path}/online.db}}
        entity_key_serialization_version: 3
        offline_store:
          type: dovetail.offline_store.DuckDBAsofOfflineStore
          memory_limit: 60MB
          threads: 1
    """
    (tmp_path / "feature_store.yaml").write_text(settings)
    command = [sys.executable, "-W", "ignore", "-c", LARGE, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, nulls, grown = map(int, done.stdout.split())
    assert (rows, nulls) == (20_000, 0)
    assert grown < table.nbytes // 2**20
