"""A headless Chromium on pages of the MLflow UI: opened, waited for, photographed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# The UI opens a panel over a quarter of the page on the first visit.
_NO_PANEL = (
    "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
    "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
)
_T = TypeVar("_T")


def missing() -> str | None:
    """Why there is no browser here; None where there is one."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(absent)} on the PATH" if absent else None


@contextmanager
def chromium(width: int = 1500, height: int = 1100) -> Iterator[Browser]:
    """A browser with a profile of its own, which goes with it; sizes in pixels."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*_FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            yield Browser(driver)
        finally:
            driver.quit()


class Browser:
    """What users do, each with its wait.

    Args:
        driver: of Selenium.
        wait_s: the longest wait for something to appear.
    """

    def __init__(self, driver: webdriver.Chrome, wait_s: float = 60.0) -> None:
        self.driver = driver
        self._wait_s = wait_s
        self._visited: set[str] = set()

    def open(self, url: str) -> None:
        """Open a page of the UI, anew also where only what follows the # differs."""
        address = url.partition("#")[0]
        if address not in self._visited:
            self.driver.get(address + "#/settings")
            self.driver.execute_script(_NO_PANEL)
            self._visited.add(address)
        self.driver.get("about:blank")
        self.driver.get(url)

    def until(self, condition: Callable[[], _T], what: str = "") -> _T:
        """Wait until a condition gives something true, and return that."""
        ignored = [StaleElementReferenceException]
        wait = WebDriverWait(self.driver, self._wait_s, 0.1, ignored)
        return wait.until(lambda _: condition(), what)

    def all(self, css: str) -> list[WebElement]:
        """The elements of a CSS selector, as they are now."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        """The first visible element of a CSS selector, once it is there."""

        def visible() -> WebElement | None:
            return next((one for one in self.all(css) if one.is_displayed()), None)

        found = self.until(visible, f"no {css}")
        assert found is not None
        return found

    def text(self, text: str, tag: str = "*") -> WebElement:
        """The first visible, innermost element with just this text, once it is there."""
        path = f"//{tag}[normalize-space()='{text}'][not(.//{tag}[normalize-space()='{text}'])]"

        def visible() -> WebElement | None:
            found = self.driver.find_elements(By.XPATH, path)
            return next((one for one in found if one.is_displayed()), None)

        element = self.until(visible, f"no text {text!r}")
        assert element is not None
        return element

    def column(self, column: str) -> list[str]:
        """What the rows of the table of runs show in a column, from the top."""
        cells = self.all(f".ag-row .ag-cell[col-id='{column}']")
        rows = [
            (one.find_element(By.XPATH, "./..").get_attribute("row-index"), one) for one in cells
        ]
        return [cell.text for index, cell in sorted(rows, key=lambda row: int(row[0] or -1))]

    def plots(self) -> list[dict[str, Any]]:
        """Traces of the Plotly charts on the page: `type`, `name` and number of `points`."""
        found: list[dict[str, Any]] = self.driver.execute_script(
            "return [...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => "
            "(plot.data || []).map(t => ({type: t.type, name: t.name, "
            "points: (t.y || []).length})))"
        )
        return found

    def photograph(self, path: Path) -> None:
        """Save what is seen as PNG."""
        self.driver.save_screenshot(str(path))
