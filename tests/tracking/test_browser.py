"""The MLflow UI as users use it: a finished sweep, `sweeper ui`, and a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import tracked_sweep as ts
from mlflow import MlflowClient
from selenium.webdriver.common.keys import Keys

from benchmarks import browser as chromium
from benchmarks.browser import Browser
from benchmarks.served_ui import served
from sweeper.results.sweep import SweepHandle
from sweeper.study.folder import Folder
from sweeper.tracking.process import Tracker

pytestmark = [
    # MLflow's tables use what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing())),
    pytest.mark.timeout(300),
]

TRIALS = 14
CELLS = 'tags.`sweeper.trial` != ""'
NAME = "attributes.`Run Name`"
DESCRIPTION = "[data-testid='experiment-metadata-editor-edit-button'] ~ button"


@dataclass(frozen=True)
class Ui:
    """`sweeper ui` on a finished sweep; `ranking` is the link that it prints."""

    address: str
    ranking: str
    client: MlflowClient
    experiment: str

    def runs(self, text: str, order: str = "metrics.rank ASC") -> list[Any]:
        return list(self.client.search_runs([self.experiment], text, order_by=[order]))

    def names(self, text: str, order: str = "metrics.rank ASC") -> list[str]:
        return [run.info.run_name for run in self.runs(text, order)]

    def page(self, run: Any, rest: str = "") -> str:
        where = f"experiments/{self.experiment}/runs/{run.info.run_id}{rest}"
        return f"{self.address}/#/{where}?workflowType=machine_learning"


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    storage = tmp_path_factory.mktemp("ui")
    record(ts.make(storage, trials=TRIALS))
    with served(storage, ts.NAME) as link:
        address = link.partition("/#")[0]
        client = MlflowClient(address)
        yield Ui(address, link, client, client.get_experiment_by_name(ts.NAME).experiment_id)


def record(folder: Folder) -> None:
    """What a launch does at the end of a sweep."""
    handle = SweepHandle(folder)
    folder.storage.write("recommended.json", handle.export("json").encode())
    handle.report()
    Tracker(folder.path).run()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.chromium() as found:
        yield found


def shown(browser: Browser) -> list[str]:
    """Names of the runs in the table, from the top; the first line of a cell is a colour."""
    return [text.splitlines()[-1] for text in browser.column(NAME) if text]


def count(browser: Browser) -> int:
    """What the page says of how many runs match."""
    found = re.search(r"(\d+)\s+matching run", browser.one("body").text)
    return int(found.group(1)) if found else -1


def test_the_link_leads_to_the_trials_in_the_order_of_their_rank(ui: Ui, browser: Browser) -> None:
    browser.open(ui.ranking)
    ranked = ui.names(CELLS)
    assert len(ranked) == TRIALS
    browser.until(lambda: shown(browser) == ranked, "the ranking")
    ranks = browser.column("metrics.`rank`")
    assert ranks == [str(place) for place in range(1, TRIALS + 1)]
    losses = [float(text.rstrip("…")) for text in browser.column("metrics.`robust_loss`")]
    expected = [run.data.metrics["robust_loss"] for run in ui.runs(CELLS)]
    assert losses == pytest.approx(expected, abs=1e-4)


def test_a_filter_of_the_description_and_a_click_on_a_header(ui: Ui, browser: Browser) -> None:
    browser.open(ui.ranking)
    browser.until(lambda: len(shown(browser)) == TRIALS)
    browser.one(DESCRIPTION).click()
    text = browser.text("metrics.failure_fraction = 0 and metrics.draw_up < 3", "code").text
    good = ui.names(text)
    assert 0 < len(good) < TRIALS
    browser.one(DESCRIPTION).click()  # it takes the place of the table
    box = browser.one("[data-testid='search-box']")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text, Keys.ENTER)
    browser.until(lambda: shown(browser) == good and count(browser) == len(good), "the filter")

    # Trials of equal draw-up may stand in any order.
    expected = sorted(run.data.metrics["draw_up"] for run in ui.runs(text))
    browser.one("[data-testid='sort-header-draw_up']").click()

    def is_sorted() -> bool:
        values = [float(cell.rstrip("…")) for cell in browser.column("metrics.`draw_up`")]
        return len(values) == len(expected) and any(
            order == pytest.approx(expected, abs=1e-4) for order in (values, values[::-1])
        )

    browser.until(is_sorted, "the order of draw_up")


def test_the_best_run_has_its_mark_its_curve_and_its_setting(ui: Ui, browser: Browser) -> None:
    (best,) = ui.runs('tags.`sweeper.recommended` = "true"')
    browser.open(ui.ranking)
    browser.until(lambda: shown(browser))
    browser.text(best.info.run_name, "a").click()
    browser.text("About this run")
    browser.until(lambda: "sweeper.recommended" in browser.one("body").text)
    assert best.info.run_id in browser.driver.current_url

    browser.open(ui.page(best, "/model-metrics"))
    browser.one("input[placeholder='Search metric charts']").send_keys("^loss$")
    curve = ui.client.get_metric_history(best.info.run_id, "loss")

    def drawn() -> list[dict[str, Any]]:
        return [plot for plot in browser.plots() if plot["points"] == len(curve) > 1]

    assert browser.until(drawn, "the curve")[0]["name"] == best.info.run_name

    browser.open(ui.page(best, "/artifacts/config.json"))
    browser.until(lambda: '"optimizer": "adam"' in browser.one("body").text, "config.json")


def test_the_run_of_the_sweep_says_what_is_recommended_and_has_the_report(
    ui: Ui, browser: Browser
) -> None:
    (best,) = ui.runs('tags.`sweeper.recommended` = "true"')
    parent = ui.client.get_run(best.data.tags["mlflow.parentRunId"])
    browser.open(ui.page(parent))
    browser.until(lambda: "Recommended: " in browser.one("body").text)
    link = browser.text(best.info.run_name, "strong/a").get_attribute("href")
    assert link is not None
    assert best.info.run_id in link

    browser.open(ui.page(parent, "/artifacts/report/report.html"))
    frame = browser.one("iframe.mlflow-html-iframe")
    for file in ("recommended.json", "trajectories.png"):
        browser.until(lambda name=file: name in browser.one("body").text, file)
    browser.driver.switch_to.frame(frame)
    browser.text("Recommendation", "h2")
    assert f"trial {best.data.tags['sweeper.trial']}" in browser.one("body").text
    sizes = [plot.size for plot in browser.all("figure svg")]
    assert len(sizes) >= 4
    assert all(size["width"] > 100 and size["height"] > 100 for size in sizes)


def test_the_charts_compare_settings_and_curves(ui: Ui, browser: Browser) -> None:
    browser.open(ui.ranking.replace("=ranking", "=charts") + "&compareRunsMode=CHART")
    browser.one(".parcoords")
    axes = {one.text for one in browser.all(".parcoords .dimension .label")}
    assert {"hp.log10_lr", "amsgrad", "robust_loss"} <= axes
    names = set(ui.names(CELLS))

    def drawn() -> bool:
        return names <= {plot["name"] for plot in browser.plots() if plot["points"] > 1}

    browser.until(drawn, "the curves")
