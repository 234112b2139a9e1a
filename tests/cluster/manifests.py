"""The files of cluster/: what they contain, and who may refuse them."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
KUBERNETES = "1.33"
_DATA = Path(__file__).parent / "data"
_CRDS = {"RayCluster": "ray.io_rayclusters", "RayJob": "ray.io_rayjobs"}

Document = dict[str, Any]


def manifests() -> list[Path]:
    """Every file for Kubernetes."""
    return sorted([*CLUSTER.glob("kuberay/*.yaml"), *CLUSTER.glob("services/*.yaml")])


def documents(path: Path) -> list[Document]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def document(path: Path, kind: str) -> Document:
    """The one document of a kind in a file."""
    [found] = [one for one in documents(path) if one["kind"] == kind]
    return found


def check(one: Document) -> None:
    """Refuse what an API server would refuse: KubeRay's kinds by its CRDs, others by Kubernetes.

    Raises:
        jsonschema.ValidationError: a wrong value, or a field that doesn't exist.
    """
    if one["kind"] in _CRDS:
        jsonschema.Draft202012Validator(_crd_schema(one["kind"])).validate(one)
    else:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def pods(one: Document) -> Iterator[Document]:
    """The pod specs in a document, wherever they are."""
    if isinstance(one, dict):
        if "containers" in one:
            yield one
        for value in one.values():
            yield from pods(value)
    elif isinstance(one, list):
        for value in one:
            yield from pods(value)


@functools.cache
def _crd_schema(kind: str) -> Document:
    with gzip.open(_DATA / f"{_CRDS[kind]}.yaml.gz") as file:
        # The pure Python loader takes ten times as long.
        definition = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    [version] = [one for one in definition["spec"]["versions"] if one["name"] == "v1"]
    schema: Document = version["schema"]["openAPIV3Schema"]
    _refuse_unknown(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _refuse_unknown(schema: Document) -> None:
    """An API server drops unknown fields, or refuses them with --validate=strict."""
    properties = schema.get("properties", {})
    is_open = (
        schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    )
    if properties and not is_open:
        schema["additionalProperties"] = False
    inner = [*properties.values(), schema.get("items"), schema.get("additionalProperties")]
    for one in inner:
        if isinstance(one, dict):
            _refuse_unknown(one)
