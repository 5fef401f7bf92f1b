"""MLflow's UI as `make ui` starts it, in a real browser: compare runs, read the champion's card, move an alias."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser import Browser
from tests.servers import free_port, wait_for

pytestmark = pytest.mark.slow

# A person who has used MLflow before: its introductions are closed, and he looks at models, not at agents.
AT_HOME = """
if (location.protocol === 'http:') {
  localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
  localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
}
"""
SECOND_VERSION = """
first = client.get_model_version('flights', '1')
client.create_model_version('flights', first.source, first.run_id, tags=first.tags)
"""


@pytest.fixture
def ui(in_production) -> Iterator[str]:
    """The address of the UI on the project, whose first version is in production, and whose second nobody judged."""
    in_production.with_mlflow(SECOND_VERSION)
    in_production.step("train model=logistic")
    port = free_port()
    # Setting up is left out: the environment is there, and make would build it again where the lock is newer.
    server = subprocess.Popen(
        ["make", "-o", "setup", "ui"],
        cwd=in_production.folder,
        env=in_production.environment(PORT=str(port)),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, seconds=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """One window."""
    found = Browser(tmp_path / "profile")
    yield found
    found.driver.quit()


def test_a_person_compares_reads_and_promotes(browser: Browser, ui: str, in_production) -> None:
    """Two runs side by side, the champion, its card by a link, an alias moved by hand and noticed."""
    driver = browser.driver
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": AT_HOME})

    # The experiment's description leads to the table of results; two runs are ticked and compared.
    driver.get(f"{ui}/#/experiments/1/runs?workflowType=machine_learning")
    results = browser.find("a", "their results in a table").get_attribute("href")
    driver.get(results)
    browser.find("[role=columnheader]", "holdout/roc_auc")
    browser.find("a", "hist_gradient_boosting")
    browser.find("a", "logistic")
    browser.click("[role=columnheader] .ag-checkbox")
    browser.click("button", "Compare")
    browser.find("h2", "Comparing 2 Runs")
    compared = browser.text
    assert "validation/roc_auc" in compared
    assert "dovetail train" in compared or "model.max_iter" in compared

    # The registered model: which version is in production.
    driver.get(f"{ui}/#/models/flights")
    assert browser.find("[role=row]", "@ champion").text.startswith("Version 1")
    # MLflow takes a word with an @ for somebody on GitHub.
    assert "https://github.com/" not in driver.page_source

    # Its card, by the link in the description, which opens another window.
    driver.get(f"{ui}/#/models/flights/versions/1")
    browser.click("a", "Model card")
    driver.switch_to.window(driver.window_handles[-1])
    driver.switch_to.frame(browser.find("iframe"))
    assert browser.find(".verdict strong").text == "Promoted"
    assert browser.find("h1").text == "flights version 1"
    driver.switch_to.default_content()

    # The alias, moved by clicking.
    driver.get(f"{ui}/#/models/flights/versions/2")
    browser.click("button[data-component-id*='aliaseditor']")
    dialog = browser.find("[role=dialog]", "Add/Edit alias for model version 2")
    browser.find("input", inside=dialog).send_keys("champion\n")
    browser.click("button", "Save aliases", inside=dialog)
    browser.wait_until_gone("[role=dialog]")
    browser.find("div", "@ champion")
    assert {address for address in browser.requests() if not address.startswith(ui)} == set()

    # The next command notices, and enters it in the journal.
    said = in_production.step("history")
    assert "champion: 1 -> 2, noticed: moved outside Dovetail" in said
    assert "never passed the gate" in said
