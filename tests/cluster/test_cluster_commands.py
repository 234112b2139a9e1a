"""Commands, options, variables and versions that the files of cluster/ name exist."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import ray.scripts.scripts
import yaml
from manifests import CLUSTER, ROOT, document, documents, manifests, pods
from ruamel.yaml import YAML
from test_ray_up import COMMANDS, read

from sweeper.cli import cli
from sweeper.spec import load

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow's own type hints
    import mlflow.cli
    import mlflow.environment_variables

PAGE = ROOT / "docs" / "cluster.md"
PROGRAMS: dict[str, click.Command] = {
    "sweeper": cli,
    "ray": ray.scripts.scripts.cli,
    "mlflow": mlflow.cli.cli,
}
FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file())


def written(path: Path) -> Iterator[str]:
    """Command lines in a file, with its continuations joined: code, remarks and backquotes."""
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    text = re.sub(r"\n# +(?=[^\n`]*`[^\n`]*\n)", " ", text) if path.suffix != ".md" else text
    programs = "|".join(PROGRAMS)
    for line in text.splitlines():
        bare = line.lstrip("# ").strip()
        if re.match(rf"(?:{programs}) [a-z]", bare):
            yield re.split(r"\s+#|\s{3,}| &$", bare)[0]
        yield from re.findall(rf"`((?:{programs}) [a-z][\w-]* [^`]+)`", line)


def composed() -> Iterator[str]:
    """The commands of containers, jobs and machines."""
    for service in yaml.safe_load((CLUSTER / "compose.yaml").read_text())["services"].values():
        yield re.sub(r"\$\{CORES:-2\}", "2", service.get("command", ""))
    for path in manifests():
        for one in documents(path):
            yield one.get("spec", {}).get("entrypoint", "").partition(" || ")[0]
            for container in itertools.chain.from_iterable(pod["containers"] for pod in pods(one)):
                yield shlex.join(container.get("command", []))
    for name in ("aws", "gcp", "on-premises"):
        for line in itertools.chain.from_iterable(read(name).get(key, []) for key in COMMANDS):
            yield from (part for part in re.split(r"; |&& |RAY_AUTH_MODE=token ", line))


def slurm() -> Iterator[str]:
    """`ray start` of the batch script, for the first node and for the others."""
    text = re.sub(r"\\\n\s*", "", (CLUSTER / "slurm" / "sweep.sbatch").read_text())
    [common] = re.findall(r'ray start "\$\{@:2\}" (.*) &', text)
    for own in re.findall(r'^ *start "\$\S+ (.*)$', text, re.MULTILINE):
        yield "ray start " + re.sub(r"\$\(\(.*?\)\)(?= |$)", "7", f"{own} {common}")


LINES = sorted(
    {
        line.strip()
        for line in itertools.chain(
            composed(), slurm(), *(written(path) for path in [*FILES, PAGE])
        )
        if line.strip().partition(" ")[0] in PROGRAMS
    }
)


def test_there_are_such_lines() -> None:
    for program in PROGRAMS:
        assert any(line.startswith(program) for line in LINES)
    assert len(LINES) > 25


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_is_understood(line: str) -> None:
    """By the parser of the program itself: no such command or option would be an error."""
    filled = re.sub(r"\$\w+|\bN\b", "7", re.sub(r"\[(--[^\]]*)\]", r"\1", line))
    program, *arguments = shlex.split(filled)
    command, name = PROGRAMS[program], program
    while isinstance(command, click.Group):
        context = click.Context(command)
        name = arguments.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"{line}: no command {name!r}"
        command = found
    command.make_context(name, arguments)


def test_the_page_makes_the_secrets_that_manifests_want() -> None:
    made = {
        (name, key)
        for name, rest in re.findall(
            r"kubectl create secret generic (\S+) (.+)", re.sub(r"\\\n\s*", "", PAGE.read_text())
        )
        for key in re.findall(r"--from-literal=([\w-]+)=", rest)
    }
    wanted = {
        (key["name"], key["key"])
        for path in manifests()
        for one in documents(path)
        for pod in pods(one)
        for container in pod["containers"]
        for variable in container.get("env", [])
        if (key := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert made == wanted


def test_the_example_of_costs_is_computed_from_the_benchmarks() -> None:
    page = PAGE.read_text()
    [price] = re.findall(r"at a price of ([\d.]+) for an hour", page)
    table = page[page.index("| | horizon |") :].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) == 5
    for _, *figures in rows:
        horizon, rate, seconds, cost = (float(re.sub("[, s]", "", one)) for one in figures)
        assert f" {figures[1]} " in (ROOT / "docs" / "benchmarks.md").read_text()
        assert seconds == round(1000 * horizon / rate)
        assert cost == round(1000 * horizon / (rate * 3600) * float(price), 4)


@pytest.mark.parametrize("name", ["rayjob", "rayjob-kueue"])
def test_the_sweep_of_a_job_is_a_spec(name: str, tmp_path: Path) -> None:
    path = CLUSTER / "kuberay" / f"{name}.yaml"
    text = document(path, "ConfigMap")["data"]["sweep.yaml"]
    spec = tmp_path / "sweep.yaml"
    spec.write_text(text)
    loaded = load(spec)
    assert loaded.study_url == "postgresql://sweeper@postgres:5432/sweeper"
    assert loaded.files == "s3://BUCKET/sweeps"
    assert loaded.tracking.uri == "http://mlflow:5000"
    # As many lanes as the workers have cores at most.
    [group] = [
        one
        for one in document(path, "RayJob")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        if one["groupName"] == "cpu"
    ]
    [container] = group["template"]["spec"]["containers"]
    assert loaded.lanes.count <= group["maxReplicas"] * int(
        container["resources"]["limits"]["cpu"]
    )


def test_the_version_of_ray_is_the_one_that_is_installed() -> None:
    for name, kind in (("raycluster", "RayCluster"), ("rayjob", "RayJob")):
        spec = document(CLUSTER / "kuberay" / f"{name}.yaml", kind)["spec"]
        assert spec.get("rayClusterSpec", spec)["rayVersion"] == ray.__version__


def test_images_are_those_that_there_are_files_for() -> None:
    named = {
        match
        for path in FILES
        for match in re.findall(
            r"image: (?:registry\.example\.com/)?(sweeper:\w+)", path.read_text()
        )
    }
    assert named == {f"sweeper:{path.suffix[1:]}" for path in CLUSTER.glob("images/Dockerfile.*")}


def test_extras_that_machines_install_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for path in FILES:
        for extras in re.findall(r"\.\[([\w,]+)\]", path.read_text()):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), path.name


def test_variables_of_mlflow_exist() -> None:
    text = "\n".join(path.read_text() for path in FILES)
    # Those of compose's own: they are given to others.
    own = {"MLFLOW_PASSWORD", "MLFLOW_FLASK_SECRET", "MLFLOW_PORT"}
    named = set(re.findall(r"\bMLFLOW_[A-Z_]+", text)) - own
    assert len(named) >= 6
    assert all(hasattr(mlflow.environment_variables, name) for name in named), named


def test_files_mean_what_yaml_12_means() -> None:
    """Kubernetes reads YAML 1.1, sweeper 1.2: no value is another one there."""
    for path in CLUSTER.rglob("*.yaml"):
        ours = list(YAML(typ="safe").load_all(path.read_text()))
        theirs = list(yaml.safe_load_all(path.read_text()))
        assert json.dumps(ours) == json.dumps(theirs), path.name
