"""The screenshots of docs/mlflow.md: a finished sweep in the MLflow UI, in a headless Chromium.

sweeper launch search_spaces/perceptron.yaml --set budget.trials=64 --storage sweeps
python -m docs.photograph_mlflow sweeps perceptron
"""

from __future__ import annotations

import sys
from pathlib import Path

from mlflow import MlflowClient
from PIL import Image

from benchmarks.browser import Browser, chromium
from benchmarks.served_ui import served
from sweeper.tracking import views

_FIGURES = Path(__file__).parent / "figures"


def main() -> None:
    """Photograph the sweep of that name in that storage."""
    storage, name = Path(sys.argv[1]), sys.argv[2]
    with served(storage, name) as link, chromium(1500, 1250) as browser:
        _ranking(browser, link)
        _charts(browser, link)
        address = link.partition("#")[0]
        client = MlflowClient(address.rstrip("/"))
        found = client.get_experiment_by_name(name)
        assert found is not None
        (best,) = client.search_runs([found.experiment_id], 'tags.`sweeper.recommended` = "true"')
        parent = best.data.tags["mlflow.parentRunId"]
        _sweep(browser, address + views.run_link(found.experiment_id, parent))
        page = views.run_link(found.experiment_id, parent)
        _report(browser, address + page.replace("?", "/artifacts/report/report.html?"))


def _ranking(browser: Browser, link: str) -> None:
    browser.open(link)
    browser.until(lambda: browser.column("metrics.`rank`")[:2] == ["1", "2"])
    _photograph(browser, "ranking")


def _charts(browser: Browser, link: str) -> None:
    browser.open(link.replace("=ranking", "=charts") + "&compareRunsMode=CHART")
    browser.one(".parcoords")
    browser.until(lambda: any(plot["points"] > 1 for plot in browser.plots()))
    _photograph(browser, "charts")


def _sweep(browser: Browser, page: str) -> None:
    browser.open(page)
    browser.until(lambda: "Recommended: " in browser.one("body").text)
    browser.until(lambda: "Load more" in browser.one("body").text)
    _photograph(browser, "sweep")


def _report(browser: Browser, page: str) -> None:
    browser.open(page)
    browser.driver.switch_to.frame(browser.one("iframe.mlflow-html-iframe"))
    browser.text("Recommendation", "h2")
    browser.driver.switch_to.default_content()
    _photograph(browser, "report")


def _photograph(browser: Browser, what: str) -> None:
    path = _FIGURES / f"mlflow_{what}.png"
    browser.photograph(path)
    with Image.open(path) as photo:  # of few colours: a third of the size
        photo.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
