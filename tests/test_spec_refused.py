"""Every kind of mistake in a spec is one message: file, line, key, value, what is allowed."""

import re
from pathlib import Path

import pytest

from sweeper.errors import SweepError
from sweeper.spec import check, load

GOOD = {
    "name": "mine",
    "task": "perceptron",
    "horizon": "100",
    "space": "{lr: {log_uniform: [1e-5, 1e-1]}}",
}
# Value of a key, and the rest of the message: the file, the line and the key come before it.
STEPS = r"allowed: steps from 1 to 1e9, \{epochs: N\} or \{samples: N\}"
VALUES = [
    ("name", "a/b", "'a/b'; allowed: 1 to 100 letters, digits, .*"),
    ("name", "''", "''; allowed: 1 to 100 .*"),
    ("name", ".hidden", "'.hidden'; allowed: .*"),
    ("name", "ä", "'ä'; allowed: .*"),
    ("name", "7", "7; allowed: text"),
    ("task", "[perceptron]", r"\['perceptron'\]; allowed: text"),
    ("task_args", "[1]", r"\[1\]; allowed: a mapping"),
    ("horizon", "0", "0; " + STEPS),
    ("horizon", "-5", "-5; " + STEPS),
    ("horizon", "2000000000", "2000000000; " + STEPS),
    ("horizon", "1e3", r"1000\.0; " + STEPS),
    ("horizon", "many", "'many'; " + STEPS),
    ("horizon", "true", "True; " + STEPS),
    ("horizon", "null", "None; " + STEPS),
    ("seeds", "0", "0; allowed: a count from 1 to 10000"),
    ("seeds", "true", "True; allowed: an int or a list or a mapping"),
    ("seeds", "'2'", "'2'; allowed: an int or a list or a mapping"),
    ("seeds", "{racing: true}", ".*; allowed: an int or a list or a mapping with count"),
    ("seeds", "[]", r"\[\]; allowed: 1 to 10000 seeds, all different"),
    ("seeds", "[1, 1]", r"\[1, 1\]; allowed: 1 to 10000 seeds, all different"),
    ("seeds", "[-1]", r"\[-1\]; allowed: seeds from 0 to 2\*\*31 - 1"),
    ("seeds", "[2147483648]", r"\[2147483648\]; allowed: seeds from 0 to .*"),
    ("dtype", "float23", r"'float23'; allowed: .* Did you mean 'float32'\?"),
    ("baseline", "3", "3; allowed: a mapping or a list"),
    ("space", "3", "3; allowed: a mapping"),
    ("space", "{}", "{} is not a space; allowed: a mapping of hyperparameters"),
    ("storage", "''", "''; allowed: the path of a folder"),
    ("search", "null", "None; allowed: a mapping"),
    ("search", "tpe", "'tpe'; allowed: a mapping"),
    ("study_url", "3", "3; allowed: text"),
    ("prune", "3", "3; allowed: text or a mapping"),
    ("prune", "{kind: median}", r"\{'kind': 'median'\}; allowed: a name, or {pruner: name, .*"),
    ("prune", "medain", r"'medain'; allowed: .*, wilcoxon\. Did you mean 'median'\?"),
    ("prune", "{pruner: none, p: 1}", "unknown option 'p' of none; allowed: none at all"),
    (
        "prune",
        "{pruner: median, n_startup: 3}",
        r"unknown option 'n_startup' of median; allowed: .*\. Did you mean 'n_startup_trials'\?",
    ),
    ("objective", "3", "3; allowed: text or a mapping or a list"),
    ("objective", "accuracy", "'accuracy'; allowed: robust_loss, or {metric: name, .*"),
    ("objective", "robust_los", r"'robust_los'; .*\. Did you mean 'robust_loss'\?"),
    ("objective", "[]", r"\[\]; allowed: one objective or more, all different"),
    ("objective", "[robust_loss, robust_loss]", r"\[.*\]; allowed: one .* all different"),
    ("objective", "{metric: a}", "the key 'direction' is missing; allowed: robust_loss, or .*"),
    ("objective", "{direction: minimize}", "the key 'metric' is missing; .*"),
    (
        "objective",
        "{metrik: a, direction: minimize}",
        r"unknown key 'metrik'; allowed: direction, metric\. Did you mean 'metric'\?",
    ),
]
# The same one level down: section, key, value.
NESTED = [
    ("search", "sampler", "tpp", r"'tpp'; allowed: 'tpe', 'gp', .* or 'random'\. .*'tpe'\?"),
    ("search", "seed", "-1", "-1; allowed: greater than or equal to 0"),
    ("search", "seed", "1.5", r"1\.5; allowed: an int"),
    ("budget", "trials", "0", "0; allowed: greater than or equal to 1"),
    ("budget", "run_steps", "true", "True; allowed: an int"),
    ("budget", "run_steps", "'5'", "'5'; allowed: an int"),
    ("budget", "time", "2 weeks", "'2 weeks'; allowed: a number of seconds, or text such as .*"),
    ("budget", "time", "-1h", "'-1h'; allowed: a number of seconds, .*"),
    ("budget", "time", "1:30", "'1:30'; allowed: a number of seconds, .*"),
    ("budget", "time", "0s", "'0s'; allowed: more than 0 seconds"),
    ("budget", "time", "-3", "-3; allowed: more than 0 seconds"),
    ("budget", "time", "true", "True; allowed: a number"),
    ("budget", "time", ".inf", "inf; allowed: a finite number"),
    ("stability", "climb", "0", "0; allowed: greater than 0"),
    ("stability", "tail", "1.5", r"1\.5; allowed: less than or equal to 1"),
    ("stability", "cvar", "half", "'half'; allowed: a number"),
    ("lanes", "count", "0", "0; allowed: auto, or an int >= 1"),
    ("lanes", "count", "aut", r"'aut'; allowed: 'auto' or an int\. Did you mean 'auto'\?"),
    ("lanes", "count", "true", "True; allowed: 'auto' or an int"),
    ("lanes", "slots", "1.5", r"1\.5; allowed: 'auto' or an int"),
    ("lanes", "gpus", "-1", "-1; allowed: auto, a share from 0 to 1, or a whole number"),
    ("lanes", "gpus", "-0.5", r"-0\.5; allowed: auto, a share from 0 to 1, or a whole number"),
    ("lanes", "gpus", "1.5", r"1\.5; allowed: auto, a share from 0 to 1, or a whole number"),
    ("lanes", "gpus", "all", "'all'; allowed: 'auto' or a number"),
    ("tracking", "later", "1", "1; allowed: a boolean"),
    ("tracking", "children", "-1", "-1; allowed: auto, all, or an int >= 0"),
    ("search", "history", "249", "249; allowed: auto, or an int >= 250"),
    ("seeds", "count", "0", "0; allowed: greater than or equal to 1"),
    ("stress", "horizon", "4y", "'4y'; allowed: steps >= 1, or a multiple of the horizon .*"),
    ("stress", "horizon", "0x", "'0x'; allowed: steps >= 1, .*"),
    ("stress", "horizon", "0", "0; allowed: steps >= 1, .*"),
    ("space", "lr", "-1", r"-1 is out of range; allowed: a number in \(0, 1e\+06\]"),
    ("space", "lr", "1.0.0", r"'1\.0\.0' is not a number; .*"),
    ("space", "lr", "0x" + "f" * 400, r"[0-9]+\.\.\. is out of range; .*"),
    ("baseline", "lr", "0", "0 is out of range; .*"),
    ("baseline", "clip_norm", "-1", "-1 is out of range; allowed: .*, or null"),
]
# Whole lines at the end of a good spec, and the whole message after the name of the file.
LINES = [
    ("horizn: 3", r", line 5: unknown key 'horizn'; allowed: .* Did you mean 'horizon'\?"),
    ("int: 3", ", line 5: unknown key 'int'; allowed: allow_unpacked, .*"),
    ("a[b]: 3", r", line 5: unknown key 'a\[b\]'; .*"),
    (
        "search:\n  sed: 1",
        r", line 6: search: unknown key 'sed'; allowed: history, mirror, sampler, .*",
    ),
    ("horizon: 3", ', line 5: not YAML: found duplicate key "horizon" .*'),
    ("search: {seed: 1, seed: 1}", ', line 5: not YAML: found duplicate key "seed" .*'),
    (f"? 0x{'f' * 5000}\n: 2", r": the key HexInt too big to show is not text\. .*"),
    ("1: 2", ": the key 1 is not text. Put it in quotes."),
    ("? [a, b]\n: 3", r": the key .* is not text\. .*"),
    ("task_args: {1: 2}", ", line 5: task_args: the key 1 is not text. .*"),
    ("task_args: {a: .nan}", ", line 5: task_args.a: nan is not a number; .*"),
    (
        "task_args: {a: 2020-01-01}",
        r", line 5: task_args\.a: .* is a date; allowed: .* in quotes .*",
    ),
    ("task_args: {a: !!binary aGk=}", r", line 5: task_args\.a: b'hi' is a bytes; .*"),
    ("task_args: {a: !!set {x}}", r", line 5: task_args\.a: .* is a CommentedSet; .*"),
    ("task_args: !!python/object:os.system {}", r", line 5: task_args: the tag .*os\.system; .*"),
    ("task_args: !!python/name:os.system", r", line 5: task_args: the tag .*os\.system; .*"),
    (
        "task_args: {a: !own 1}",
        r", line 5: task_args\.a: the tag !own; allowed: plain .*",
    ),
    ("task_args: {a: !!int x}", ": not YAML: invalid literal for int.*"),
    ('task_args: {a: "\\ud800"}', r", line 5: task_args\.a: .* is not text; .*"),
    (f"task_args: {'[' * 30}{']' * 30}", r", line 5: task_args\[0\].*: nested too deeply; .*"),
    (f"task_args: {'[' * 500}{']' * 500}", ": not YAML: .*|.*: nested too deeply; .*"),
    ("task_args: [", ", line [56]: not YAML: .*"),
    ("\ttask_args: 3", ", line [45]: not YAML: .*"),
    ("--- \nname: x", ", line 5: not YAML: .*but found another document"),
    ("task_args: \0", ": not YAML: .*"),
    ("baseline:\n- {}\n- {lr: 0}", r", line 7: baseline\[1\]\.lr: 0 is out of range; .*"),
    ("baseline:\n- 3", r", line 6: baseline\[0\]: 3; allowed: a mapping"),
    ("objective: [robust_loss, acc]", r", line 5: objective\[1\]: 'acc'; allowed: robust_loss.*"),
    (
        "objective:\n- {metric: a, direction: maximise}",
        r", line 6: objective\[0\]\.direction: 'maximise'; allowed: maximize, minimize\. .*",
    ),
    (
        "objective: {metric: robust_loss, direction: maximize}",
        r", line 5: objective\.metric: 'robust_loss'; allowed: the name of a metric that .*",
    ),
    (
        "search: {sampler: gp}\nobjective: [robust_loss, {metric: a, direction: maximize}]",
        r", line 5: search\.sampler: 'gp' takes one objective, and there are 2; allowed: .*",
    ),
    (
        "search: {sampler: cmaes}\nobjective: [robust_loss, {metric: a, direction: maximize}]",
        r", line 5: search\.sampler: 'cmaes' takes one objective, .*",
    ),
    (
        "prune: median\nobjective: [robust_loss, {metric: a, direction: maximize}]",
        ", line 5: prune: 'median' takes one objective, and there are 2; allowed: hopeless, none",
    ),
    ("prune: {pruner: hyperban}", r", line 5: prune\.pruner: 'hyperban'; .*'hyperband'\?"),
    (
        "prune: {pruner: wilcoxon, p_threshold: 2}",
        r", line 5: prune\.p_threshold: 2; allowed: a number >= 0, <= 1",
    ),
    (
        "prune: {pruner: hyperband, reduction_factor: 1}",
        r", line 5: prune\.reduction_factor: 1; allowed: an int >= 2",
    ),
    (
        "prune: {pruner: hyperband, min_resource: 101}",
        r", line 5: prune\.min_resource: 101 steps; allowed: at most the horizon, 100 steps",
    ),
    ("seeds: [1, x]", r", line 5: seeds\[1\]: 'x'; allowed: an int"),
    (
        "baseline: {schedule: {kind: cosine, warmup: {steps: 101}}}",
        r", line 5: baseline\.schedule\.warmup: warmup of 101 steps is longer .* 100 steps",
    ),
]
SPACES = [
    ("{lr: {uniform: [2, 1]}}", r"space\.lr\.uniform: \[2, 1\] is empty; allowed: low < high"),
    (
        "{schedule: {choice: {constant: {}, cosine: {warmup: {steps: 101}}}}}",
        r"space\.schedule\.warmup: warmup of 101 steps is longer than the horizon; .*",
    ),
    (
        "{schedule: {kind: cosine, warmup: {choice: [{steps: 1}, {steps: 101}]}}}",
        r"space\.schedule\.warmup: warmup of 101 steps is longer than the horizon; .*",
    ),
    (
        "{optimizer: {choice: {adam: {}, sgd: {momentum: {uniform: [-0.5, 0.9]}}}}}",
        r"space\.optimizer\.choice\.sgd\.momentum: -0\.5 is out of range; .*",
    ),
]


def message(folder: Path, text: str) -> str:
    """What is said of a spec file, after its name."""
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SweepError) as caught:
        load(path)
    return str(caught.value).removeprefix(str(path))


def text_of(**values: str) -> str:
    return "".join(f"{key}: {value}\n" for key, value in {**GOOD, **values}.items())


@pytest.mark.parametrize(("key", "value", "rest"), VALUES)
def test_value(tmp_path: Path, key: str, value: str, rest: str) -> None:
    line = [*GOOD, *([] if key in GOOD else [key])].index(key) + 1
    found = message(tmp_path, text_of(**{key: value}))
    assert re.fullmatch(f", line {line}: {key}: {rest}", found)


@pytest.mark.parametrize(("section", "key", "value", "rest"), NESTED)
def test_nested_value(tmp_path: Path, section: str, key: str, value: str, rest: str) -> None:
    lines = {k: v for k, v in GOOD.items() if k != section}
    text = "".join(f"{k}: {v}\n" for k, v in lines.items()) + f"{section}:\n  {key}: {value}\n"
    found = message(tmp_path, text)
    assert re.fullmatch(f", line {len(lines) + 2}: {section}\\.{key}: {rest}", found)


@pytest.mark.parametrize(("lines", "rest"), LINES)
def test_lines(tmp_path: Path, lines: str, rest: str) -> None:
    assert re.fullmatch(rest, message(tmp_path, text_of() + lines + "\n"))


@pytest.mark.parametrize(("space", "rest"), SPACES)
def test_space(tmp_path: Path, space: str, rest: str) -> None:
    assert re.fullmatch(f", line 4: {rest}", message(tmp_path, text_of(space=space)))


@pytest.mark.parametrize("key", GOOD)
def test_missing_key(tmp_path: Path, key: str) -> None:
    text = "".join(f"{k}: {v}\n" for k, v in GOOD.items() if k != key)
    assert message(tmp_path, text) == f": the key {key!r} is missing"


def test_a_misspelt_key_is_told_before_the_one_that_is_missing(tmp_path: Path) -> None:
    found = message(tmp_path, text_of().replace("horizon", "horzion"))
    assert re.fullmatch(r", line 3: unknown key 'horzion'; .* Did you mean 'horizon'\?", found)


@pytest.mark.parametrize("text", ["", "- a\n", "just text", "3", "null", "!!python/object:x {}"])
def test_no_mapping(tmp_path: Path, text: str) -> None:
    assert re.fullmatch(": the (spec is not a mapping|tag .*); .*", message(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").touch()
    with pytest.raises(SweepError, match=r"can't read .*no\.yaml: No such file.*other\.yaml"):
        load(tmp_path / "no.yaml")
    with pytest.raises(SweepError, match=r"can't read .*: Is a directory"):
        load(tmp_path)
    with pytest.raises(SweepError, match=r"can't read .*null byte"):
        load(tmp_path / "a\0b.yaml")


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes("name: ä".encode("latin-1"))
    with pytest.raises(SweepError, match=r"can't read .*: it is not UTF-8 text"):
        load(path)


@pytest.mark.parametrize("raw", [None, [], "name: x", {"name": object()}, {1: 2}])
def test_no_plain_data(raw: object) -> None:
    with pytest.raises(SweepError, match=r"^spec"):
        check(raw)  # type: ignore[arg-type]


def test_a_number_without_a_repr() -> None:
    with pytest.raises(SweepError, match=r"^spec: horizon: int too big to show is out of range"):
        check({"name": "a", "task": "b", "horizon": 10**5000, "space": {"lr": 1}})


def test_a_spec_within_itself() -> None:
    raw: dict[str, object] = {}
    raw["name"] = [raw]
    with pytest.raises(SweepError, match=r"^spec: name.*: nested too deeply; allowed: 20 levels$"):
        check(raw)


def test_storage_of_nobody() -> None:
    raw = {"name": "a", "task": "b", "horizon": 1, "space": {"lr": 1}}
    with pytest.raises(SweepError, match="storage: '~nobody_here/x': "):
        _ = check({**raw, "storage": "~nobody_here/x"}).folder


def test_cmaes_needs_a_range_that_every_trial_has(tmp_path: Path) -> None:
    space = "{lr: 1e-3, schedule: {choice: {constant: {}, cosine: {final: {uniform: [0, 1]}}}}}"
    found = message(tmp_path, text_of(space=space) + "search: {sampler: cmaes}\n")
    assert re.fullmatch(
        r", line 5: search\.sampler: 'cmaes' searches ranges, .* such as tpe\.", found
    )
    nested = "{lr: 1e-3, schedule: {kind: cosine, final: {uniform: [0, 1]}}}"
    (tmp_path / "nested.yaml").write_text(text_of(space=nested) + "search: {sampler: cmaes}\n")
    assert load(tmp_path / "nested.yaml").search.sampler == "cmaes"
