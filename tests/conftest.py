"""What tests of more than one folder need."""

import os
import shutil
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def java() -> Iterator[None]:
    """Spark runs on Java: without it the tests are skipped, and in CI they fail. The session ends with the module."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Spark needs Java 17 or later")
    yield
    if "pyspark" in sys.modules:
        from pyspark.sql import SparkSession

        if session := SparkSession.getActiveSession():
            session.stop()
