"""One Spark session for all tests, stopped at the end."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def spark_session() -> Iterator[None]:
    """Whatever session the tests have started ends with them."""
    yield
    if "pyspark" in sys.modules:
        from pyspark.sql import SparkSession

        session = SparkSession.getActiveSession()
        if session:
            session.stop()
