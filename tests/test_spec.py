"""Spec files: what is read, and that a mistake is told with its place and its cure."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from sweeper import spec_file
from sweeper.errors import SweepError
from sweeper.spec import SweepSpec, check, load
from sweeper.tasks import registry

SHIPPED = sorted((Path(__file__).parent.parent / "search_spaces").glob("*.yaml"))
GOOD = """\
name: mine
task: perceptron
horizon: 100
baseline: {lr: 1e-3}
space:
  lr: {log_uniform: [1e-5, 1e-1]}
"""
KEYS = """\
allow_unpacked baseline batch_size batches budget budget.run_steps budget.time budget.trials dtype
files horizon lanes lanes.count lanes.gpus lanes.loaders lanes.patience lanes.save lanes.silence
lanes.slots lr_range lr_range.found lr_range.high lr_range.low lr_range.pick lr_range.seeds
lr_range.settings lr_range.smoothing lr_range.steps lr_range.stop mixed_precision name notify
notify.command notify.on notify.webhook objective prune record record.update_cosine
search search.history search.mirror search.sampler search.seed seeds space stability
stability.climb stability.cvar stability.give_back stability.probe stability.tail storage stress
stress.budget stress.horizon stress.neighbours stress.seeds stress.top study_url task task_args
tracking tracking.children tracking.later tracking.uri"""


@pytest.fixture
def written(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write(text: str) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path: Path, settings: tuple[str, ...] = ()) -> str:
    """The message for a spec file, the folder left out."""
    with pytest.raises(SweepError) as caught:
        load(path, settings)
    return str(caught.value).replace(f"{path.parent}/", "")


def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for key, field in model.model_fields.items():
        keys.append(f"{prefix}{key}")
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += dotted_keys(inner, f"{prefix}{key}.")
    return keys


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_spaces_load(path: Path) -> None:
    found = load(path)
    assert found.name == path.stem
    assert found.task in registry.BUNDLED
    assert list(found.parsed_space.flat())
    assert len(found.baselines) == 1


def test_there_are_shipped_spaces() -> None:
    assert [path.stem for path in SHIPPED] == [
        "adai", "batch_size", "char_lm", "digits", "logistic", "multitask", "perceptron",
        "saddle", "valley", "workflow",
    ]  # fmt: skip


def test_the_keys_are_these_and_no_more() -> None:
    assert sorted(dotted_keys(SweepSpec)) == re.split(r"\s", KEYS)


def test_every_key_is_documented() -> None:
    fields = {key: (field, field.annotation) for key, field in SweepSpec.model_fields.items()}
    for key, (field, kind) in fields.items():
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            assert kind.__doc__, key
            assert all(inner.description for inner in kind.model_fields.values()), key
        else:
            assert field.description, key


def test_defaults(written) -> None:  # type: ignore[no-untyped-def]
    found = load(written(GOOD))
    assert (found.horizon, found.seed_list, found.dtype) == (100, [0, 1], "float32")
    assert found.space["lr"] == {"log_uniform": [1e-5, 1e-1]}  # YAML 1.2: these are numbers
    assert [one["lr"] for one in found.baselines] == [1e-3]
    assert found.folder == Path("sweeps").resolve() / "mine"


def test_what_is_read_twice_is_read_anew(written) -> None:  # type: ignore[no-untyped-def]
    path = written(GOOD)
    content, lines = spec_file.read(path)
    content["space"]["lr"] = "changed"
    lines.clear()
    again, places = spec_file.read(path)
    assert again["space"]["lr"] == {"log_uniform": [1e-5, 1e-1]}
    assert places["space.lr"] > 0


def test_a_byte_order_mark_is_no_mistake(written) -> None:  # type: ignore[no-untyped-def]
    assert load(written("\ufeff" + GOOD)).name == "mine"


def test_anchors_and_merges(written) -> None:  # type: ignore[no-untyped-def]
    text = GOOD + "task_args: {a: &x true, b: *x, c: &x 2, d: *x}\nstability: {<<: {tail: 0.5}}\n"
    found = load(written(text))
    assert found.task_args == {"a": True, "b": True, "c": 2, "d": 2}
    assert [type(value) for value in found.task_args.values()] == [bool, bool, int, int]
    assert found.stability.tail == 0.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("90s", 90.0),
        ("30m", 1800.0),
        ("1.5 h", 5400.0),
        ("2d", 172800),
    ],
)
def test_budget_time(written, text: str, seconds: float) -> None:  # type: ignore[no-untyped-def]
    assert load(written(GOOD + f"budget: {{time: {text}}}")).budget.time == seconds


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seeds: 3", {"seed_list": [0, 1, 2]}),
        ("seeds: [7, 0]", {"seed_list": [7, 0]}),
        ("lanes: {gpus: 0}", {"lanes.gpus": 0.0}),
        ("lanes: {gpus: 0.25, count: 4, slots: 16}", {"lanes.gpus": 0.25, "lanes.count": 4}),
        ("stability: {climb: 2}", {"stability.climb": 2.0}),
        ("budget: {time: null, run_steps: 1000000}", {"budget.run_steps": 10**6}),
        ("stress: {horizon: 1.5x}", {"stress.horizon": "1.5x"}),
        ("stress: {horizon: 900}", {"stress.horizon": 900}),
        ("storage: /x/y", {"folder": Path("/x/y/mine")}),
    ],
)
def test_values(written, text: str, values: dict[str, Any]) -> None:  # type: ignore[no-untyped-def]
    found = load(written(GOOD + text))
    for dotted, value in values.items():
        inner: Any = found
        for key in dotted.split("."):
            inner = getattr(inner, key)
        assert inner == value


def test_baselines_are_complete(written) -> None:  # type: ignore[no-untyped-def]
    text = GOOD.replace("{lr: 1e-3}", "[{}, {optimizer: sgd, schedule: cosine}]")
    first, second = load(written(text)).baselines
    assert first["eps"] == 1e-8
    assert second["schedule"] == {"kind": "cosine", "warmup": 0.0, "final": 0.0}


def test_no_baseline(written) -> None:  # type: ignore[no-untyped-def]
    assert load(written(GOOD.replace("baseline: {lr: 1e-3}\n", ""))).baselines == []


def test_limits_are_those_of_the_section(written) -> None:  # type: ignore[no-untyped-def]
    section = "stability: {climb: 1, give_back: 0.5, tail: 0.25, cvar: 0.75}"
    limits = load(written(GOOD + section)).stability.limits()
    assert (limits.climb, limits.give_back, limits.tail, limits.cvar) == (1.0, 0.5, 0.25, 0.75)


def test_the_spec_is_frozen_and_its_own(written) -> None:  # type: ignore[no-untyped-def]
    raw, _ = spec_file.read(written(GOOD))
    found = check(raw)
    for section, key in [(found, "horizon"), (found.search, "seed"), (found.lanes, "slots")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 1)
    raw["space"]["lr"] = raw["baseline"]["lr"] = "changed"
    assert found.space["lr"] == {"log_uniform": [1e-5, 1e-1]}
    assert found.baseline == {"lr": 1e-3}


def test_what_is_written_is_read_back(written) -> None:  # type: ignore[no-untyped-def]
    found = load(written(GOOD + "seeds: [3, 1]\ntask_args: {a: [1, {b: 1e-3}]}\n"))
    again = check(found.model_dump(mode="json"))
    assert again == found
    assert again.meaning() == found.meaning()


def test_meaning_is_what_decides_the_results(written) -> None:  # type: ignore[no-untyped-def]
    path = written(GOOD)
    free = ["storage=/x", "lanes.slots=4", "budget.trials=9", "tracking.later=true"]
    assert load(path, free).meaning() == load(path).meaning()
    for setting in (
        "horizon=101",
        "seeds=3",
        "search.seed=1",
        "stability.probe=false",
        "space.lr=1",
    ):
        assert load(path, [setting]).meaning() != load(path).meaning()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stress: {}",
        "study_url: postgresql://h/d",
        "prune: none",
        "prune: hyperband",
        "prune: {pruner: median, n_startup_trials: 10, n_warmup_steps: 500}",
        "objective: robust_loss",
        "objective: [robust_loss, {metric: accuracy, direction: maximize}]",
        "tracking: {children: 9, later: true}",
        "tracking: {children: all}",
        "search: {history: 250}",
    ],
)
def test_sections_are_read_back_as_they_were_dumped(written, text: str) -> None:  # type: ignore[no-untyped-def]
    found = load(written(GOOD + text))
    dumped = json.loads(json.dumps(found.model_dump(mode="json")))
    assert check(dumped).model_dump(mode="json") == dumped


@pytest.mark.parametrize(
    ("settings", "dotted", "value"),
    [
        (["horizon=7"], "horizon", 7),
        (["search.sampler=qmc"], "search.sampler", "qmc"),
        (["search.seed=1", "search.sampler=random"], "search.seed", 1),
        (["horizon=7", "horizon=8"], "horizon", 8),
        (["stability.climb=1e-3"], "stability.climb", 1e-3),
        (["space.lr={uniform: [1e-3, 1]}"], "space", {"lr": {"uniform": [1e-3, 1]}}),
        (["baseline=[]"], "baseline", []),
        (["name='7'"], "name", "7"),
        (["task_args.a.b=x=y"], "task_args", {"a": {"b": "x=y"}}),
        (["study_url="], "study_url", None),
    ],
)
def test_set(written, settings: list[str], dotted: str, value: object) -> None:  # type: ignore[no-untyped-def]
    inner: Any = load(written(GOOD), settings)
    for key in dotted.split("."):
        inner = getattr(inner, key)
    assert inner == value


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("horizon", "--set 'horizon'; allowed: key=value, e.g. search.sampler=random"),
        ("=1", "--set '=1'; allowed: key=value, e.g. search.sampler=random"),
        ("search..seed=1", "--set 'search..seed=1'; allowed: key=value, e.g. .*"),
        ("horizn=1", "--set: unknown key 'horizn'; .* Did you mean 'horizon'\\?"),
        ("horizon=0", "--set: horizon: 0; allowed: steps from 1 to 1e9, .*"),
        ("space.lr=-1", "--set: space.lr: -1 is out of range; .*"),
        ("space={lr: -1}", "--set: space.lr: -1 is out of range; .*"),
        ("baseline=[{lr: 0}]", r"--set: baseline\[0\]\.lr: 0 is out of range; .*"),
        ("horizon.x=1", "--set horizon.x: 'horizon' holds 100; allowed: keys of mappings"),
        ("task_args=[", "--set task_args, line 1: not YAML: .*"),
        ("task_args=!x 1", "--set task_args: the tag !x; allowed: plain YAML without tags"),
    ],
)
def test_set_refused(written, setting: str, message: str) -> None:  # type: ignore[no-untyped-def]
    assert re.fullmatch(message, refused(written(GOOD), (setting,)))


def test_a_section_that_was_left_empty_can_be_set(written) -> None:  # type: ignore[no-untyped-def]
    assert load(written(GOOD + "search:\n"), ["search.seed=4"]).search.seed == 4


def test_overrides_come_last(written) -> None:  # type: ignore[no-untyped-def]
    assert load(written(GOOD), ["storage=/x"], storage="/y").storage == "/y"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("perceptrn", "unknown task 'perceptrn'; .*package.module:factory. .*'perceptron'\\?"),
        ("a.b:", "unknown task 'a.b:'; .*"),
        (
            "no_such_module:build",
            "there is no module 'no_such_module' .*",
        ),
    ],
)
def test_the_registry_refuses_a_task_by_its_name(task: str, message: str) -> None:
    with pytest.raises(SweepError, match=f"^task: {message}$"):
        registry.check(task, {})


def test_forecasts_look_as_far_as_the_stress_test(written) -> None:  # type: ignore[no-untyped-def]
    path = written(GOOD)
    horizon = load(path).steps({})
    assert load(path).probed_steps({}) == 4 * horizon
    assert load(path, ["stress.horizon=900"]).probed_steps({}) == 900
    assert load(path, ["stress.horizon=1.5x"]).probed_steps({}) == round(1.5 * horizon)
    assert load(path, ["stability.probe=false"]).probed_steps({}) is None
