"""A real headless Chromium, driven as a person moves in a page: what is looked for is waited for."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.servers import program

# As root there is no sandbox; the others keep it from asking its maker for anything.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,1100",
)
PATIENCE_SECONDS = 40


class Browser:
    """One window, and what a person does in it."""

    def __init__(self, folder: Path) -> None:
        """Start it with an empty profile in the folder; without Chromium or Selenium the test is skipped."""
        todo = "apt-get install chromium chromium-driver"
        chromium, driver = program("chromium", todo=todo), program("chromedriver", todo=todo)
        pytest.importorskip("selenium", reason="selenium is not installed: make servers")
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        # Named, so that Selenium does not look for one on the network.
        self.driver = Chrome(options=options, service=Service(driver))

    def find(self, selector: str, text: str = "", *, inside: Any = None) -> Any:
        """The first element that the CSS selector finds, that can be seen and that holds the text."""
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import WebDriverWait

        def seen(driver: Any) -> Any:
            found = (inside or driver).find_elements(By.CSS_SELECTOR, selector)
            return next((each for each in found if each.is_displayed() and text in each.text), None)

        wait = WebDriverWait(self.driver, PATIENCE_SECONDS, ignored_exceptions=[StaleElementReferenceException])
        try:
            return wait.until(seen)
        except TimeoutException:
            pytest.fail(f"no {selector} with '{text}' on {self.driver.current_url}:\n{self.text[:2000]}")

    def click(self, selector: str, text: str = "", *, inside: Any = None) -> None:
        """Click what `find` finds."""
        self.find(selector, text, inside=inside).click()

    def wait_until_gone(self, selector: str) -> None:
        """Until nothing that the CSS selector finds can be seen."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.expected_conditions import invisibility_of_element_located
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, PATIENCE_SECONDS).until(invisibility_of_element_located((By.CSS_SELECTOR, selector)))

    @property
    def text(self) -> str:
        """All that can be read."""
        return str(self.driver.find_element("tag name", "body").text)

    def requests(self) -> set[str]:
        """The addresses that pages have asked for since this was called last."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        sent = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
        # The browser's own, and what came with a page.
        return {address for address in sent if not address.startswith(("chrome:", "data:", "blob:"))}
