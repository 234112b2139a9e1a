"""Views of the MLflow UI: which columns, which order, which charts, kept with the experiment.

The UI stores a saved view as a tag of the experiment, `mlflow.sharedViewState.<key>`: JSON with a
name, times, and the state of the page as JSON text. It offers them under "Views".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from sweeper.space import Choice, Parameter, Space
from sweeper.spec import SweepSpec
from sweeper.tracking.content import metric_name

RANKING, CHARTS = "ranking", "charts"
_TAG = "mlflow.sharedViewState."
RANKING_TAG = _TAG + RANKING
# Without it the UI takes every experiment for one of language models, and opens another page.
_WORKFLOW = "workflowType=machine_learning"
_SECTION = "sweep"
_RESULTS = ("failure_fraction", "stress_failure_fraction", "draw_up", "onset_step")
_TAGS = ("sweeper.recommended", "sweeper.baseline", "sweeper.refused")
# MLflow takes 5,000 characters; and more columns than these nobody sees on a screen.
_MOST_SETTINGS = 10
_NAME = "attributes.`Run Name`"
# Pixels, where the header or the content needs more or less than the 100 of the UI.
_WIDTHS = {
    _NAME: 330,
    "metrics.`rank`": 75,
    "metrics.`robust_loss`": 115,
    "metrics.`failure_fraction`": 130,
    "metrics.`stress_failure_fraction`": 175,
    "tags.`sweeper.recommended`": 185,
    "tags.`sweeper.baseline`": 155,
    "tags.`sweeper.refused`": 420,
}


def link(experiment: str, view: str) -> str:
    """Where the UI shows a view of an experiment, from the address of the server on."""
    mode = "&compareRunsMode=CHART" if view == CHARTS else ""
    return f"#/experiments/{experiment}/runs?{_WORKFLOW}&viewStateShareKey={view}{mode}"


def run_link(experiment: str, run: str) -> str:
    """Where the UI shows a run, from the address of the server on."""
    return f"#/experiments/{experiment}/runs/{run}?{_WORKFLOW}"


def tags(spec: SweepSpec) -> dict[str, str]:
    """Tags of the experiment that make its views."""
    common = {
        # Of the trials only: the run of the sweep has no such tag.
        "searchFilter": 'tags.`sweeper.trial` != ""',
        "orderByKey": "metrics.`rank`",
        "orderByAsc": True,
        "selectedColumns": _columns(spec),
        "columnOrder": [_NAME, *_columns(spec)],
        "columnWidths": _WIDTHS,
    }
    charts = {
        "compareRunCharts": _charts(spec),
        "compareRunSections": [
            {"uuid": _SECTION, "name": "Sweep", "display": True, "columns": 1, "cardHeight": 380}
        ],
        # Else the UI sorts the sections by name, and this one is the last.
        "isAccordionReordered": True,
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    return {
        "mlflow.experimentKind": "custom_model_development",
        RANKING_TAG: _view("Ranking", common),
        _TAG + CHARTS: _view("Charts", common | charts),
    }


def log_settings(space: Space) -> frozenset[str]:
    """Settings that are searched on a log scale, by their names in MLflow."""
    return frozenset(
        _setting(one.name)
        for one in space.flat()
        if not isinstance(one, Choice) and one.kind == "log_uniform"
    )


def _view(name: str, state: Mapping[str, Any]) -> str:
    # A time has to be there, and would differ from replay to replay.
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


def _columns(spec: SweepSpec) -> list[str]:
    results = ["rank", *_objectives(spec), *_RESULTS]
    return [
        *(f"metrics.`{name}`" for name in results),
        *(f"params.`{name}`" for name in _by_name(spec.parsed_space.flat())),
        *(f"tags.`{name}`" for name in _TAGS),
    ]


def _charts(spec: SweepSpec) -> list[dict[str, Any]]:
    """Settings against the objective, the curves, and the first searched number by itself."""
    # A chart leaves out the runs that lack one of its values: those of other branches.
    found = _by_name(spec.parsed_space.shared())
    logs = log_settings(spec.parsed_space)
    numbers = [
        f"hp.log10_{name}" if name in logs else f"hp.{name}"
        for name, one in found.items()
        if not isinstance(one, Choice)
    ]
    choices = [name for name, one in found.items() if isinstance(one, Choice)]
    judged = _objectives(spec)
    charts: list[dict[str, Any]] = [
        {
            "type": "PARALLEL",
            "selectedParams": choices,
            # The last one colours the lines.
            "selectedMetrics": [*numbers, "failure_fraction", *judged],
            # Those that failed, too: against them one sees what holds.
            "showAllRuns": True,
        },
        {
            "type": "LINE",
            "metricKey": "loss",
            "selectedMetricKeys": ["loss"],
            "scaleType": "log",
            "xAxisKey": "step",
            "xAxisScaleType": "linear",
            "lineSmoothness": 0,
            "useGlobalLineSmoothing": True,
            "useGlobalXaxisKey": True,
            "range": {},
        },
    ]
    charts += [
        {
            "type": "SCATTER",
            "xaxis": {"key": number, "type": "METRIC"},
            "yaxis": {"key": judged[0], "type": "METRIC"},
            "tooltipDataKeys": [],
        }
        for number in numbers[:2]
    ]
    common = {"deleted": False, "isGenerated": False, "metricSectionId": _SECTION}
    return [
        {**chart, **common, "uuid": f"sweep-{index}", "runsCountToCompare": 100}
        for index, chart in enumerate(charts)
    ]


def _objectives(spec: SweepSpec) -> list[str]:
    return [
        one.name if one.is_loss else metric_name(f"objective.{one.name}")
        for one in spec.objectives
    ]


def _by_name(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """The first parameters by their names in MLflow; of several branches the first one's."""
    found: dict[str, Parameter] = {}
    for one in parameters:
        found.setdefault(_setting(one.name), one)
    return dict(islice(found.items(), _MOST_SETTINGS))


def _setting(name: str) -> str:
    """The flat name of a setting: `lr` of `optimizer.adam.lr`, and `schedule.warmup`."""
    head, *rest = name.split(".")
    if head == "schedule":
        return f"schedule.{rest[-1]}" if rest else "schedule.kind"
    return rest[-1] if head == "optimizer" and rest else name
