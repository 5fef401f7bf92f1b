"""The pipeline with `PROFILE=spark`: another engine, the same bytes."""

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("java")]

VIEWS = [
    "aircraft", "aircraft_last_flight", "carrier_delays", "destination_delays", "origin_delays", "origin_weather",
    "route_delays",
]  # fmt: skip
TABLES = [*(f"data/features/{view}.parquet" for view in VIEWS), "data/label_rows.parquet"]
PARTS = [f"data/training_set/{part}.parquet" for part in ("train", "validation", "holdout", "live")]


@pytest.mark.parametrize(("stage", "files"), [("featurize", TABLES), ("assemble", PARTS)])
def test_spark_makes_what_duckdb_made(project, stage: str, files: list[str]) -> None:
    """Three months of flights: the same schema, order and values, so the same hashes, also on clocks of New York."""
    hashes = project.hashes(stage)
    found = {file: pq.read_table(project.folder / file) for file in files}
    said = project.sh(f"dvc repro --force --single-item {stage}", PROFILE="spark", TZ="America/New_York")
    assert "Spark" in said
    for file, duckdb in found.items():
        spark = pq.read_table(project.folder / file)
        assert spark.schema.equals(duckdb.schema, check_metadata=True), file
        for name in duckdb.column_names:
            assert spark[name].equals(duckdb[name]), f"{file}: {name}"
        assert duckdb.num_rows > 100, file
    assert project.hashes(stage) == hashes
    assert project.sh("git status --short") == ""
