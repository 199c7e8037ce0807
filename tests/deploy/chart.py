"""Renders the Helm chart in process and answers questions about the objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

REPOSITORY = Path(__file__).parents[2]
CHART_DIRECTORY = REPOSITORY / "deploy" / "helm" / "liftos-core"
CASES = tuple(
    sorted(path.name.removesuffix("-values.yaml") for path in CHART_DIRECTORY.glob("ci/*"))
)

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodOf:
    """A pod of the chart and the object that makes it."""

    owner: Manifest
    labels: Mapping[str, str]
    spec: Manifest

    @property
    def container(self) -> Manifest:
        """The pod's only container."""
        (container,) = self.spec["containers"]
        return dict(container)

    @property
    def environment(self) -> dict[str, Manifest]:
        """The container's variables by name."""
        return {variable["name"]: variable for variable in self.container.get("env", [])}


def values_of(case: str) -> Manifest:
    """The values of one file below the chart's `ci` directory."""
    text = (CHART_DIRECTORY / "ci" / f"{case}-values.yaml").read_text()
    return dict(yaml.safe_load(text))


def render(values: Manifest, *, release: str = "lift") -> dict[str, str]:
    """Text of every rendered template by its path in the chart."""
    with helm_python.Chart.load(CHART_DIRECTORY) as chart:
        rendered = chart.render(values, name=release, namespace="production")
    return {path.removeprefix("liftos-core/templates/"): text for path, text in rendered.items()}


@cache
def objects_of(case: str) -> tuple[Manifest, ...]:
    """Every object that the values file of this name renders to."""
    return manifests(render(values_of(case)))


def manifests(rendered: Mapping[str, str]) -> tuple[Manifest, ...]:
    """The Kubernetes objects in rendered templates."""
    return tuple(
        document
        for path, text in rendered.items()
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    )


def of_kind(objects: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    """The objects of one kind."""
    return [item for item in objects if item["kind"] == kind]


def pods_of(objects: tuple[Manifest, ...]) -> Iterator[PodOf]:
    """Every pod that the objects make: Deployments, Jobs and bare pods."""
    for item in objects:
        if item["kind"] in {"Deployment", "Job"}:
            template = item["spec"]["template"]
            yield PodOf(item, template["metadata"]["labels"], template["spec"])
        elif item["kind"] == "Pod":
            yield PodOf(item, item["metadata"]["labels"], item["spec"])


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a non-empty label selector matches the labels."""
    return bool(selector) and selector.items() <= labels.items()
