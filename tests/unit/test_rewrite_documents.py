"""What a document is, and which of its words are images: kinds beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import rewrite_table
from sampan.rewrite import Rules, Target
from sampan.rewrite.ci import gitlab_alias
from sampan.rewrite.documents import Kind, find_images, rewrite_text
from sampan.rewrite.fields import BUILT_IN, Fields, check_kind, check_path
from sampan.rewrite.tree import kind_of

RULES = Rules({"docker.io": (Target("m.lan"),)})


def images(text: str, kind: Kind | None = None, fields: Fields | None = None) -> list[str]:
    return [place.image for place in find_images(text, kind, fields or Fields())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apiVersion: v1\nkind: X\nspec: {containers: [{image: a}]}", ["a"]),
        ("spec: {containers: [{image: a}]}", []),
        ("services: {x: {image: a}}", ["a"]),
        ("services: {x: {ports: []}}", []),
        ("jobs: {x: {runs-on: y, container: a}}", ["a"]),
        ("runs: {using: docker, image: 'docker://a'}", ["a"]),
        ("x: {script: y, image: a}", ["a"]),
        ("image: a", []),
        ("- {op: add, path: /spec/containers/0/image, value: a}", ["a"]),
        ("FROM a", ["a"]),
        (
            "---\nservices: {x: {image: a}}\n---\napiVersion: v1\nkind: X\ncontainers: [{image: b}]",
            ["a", "b"],
        ),
    ],
)
def test_a_document_is_known_by_what_stands_in_it(text: str, expected: list[str]) -> None:
    assert images(text) == expected


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("image: a", Kind.GITLAB, ["a"]),
        ("services: {x: {image: a}}", Kind.GITLAB, []),
        ("images: [{name: a, newName: b}]", Kind.KUSTOMIZATION, ["a", "b"]),
        ("images: [{name: a, newName: b}]", Kind.YAML, []),
        ("services: {x: {image: a}}", Kind.KUBERNETES, []),
        ("apiVersion: v1\nkind: X\ncontainers: [{image: a}]", Kind.COMPOSE, ["a"]),
        ("# comment\nFROM a", Kind.DOCKERFILE, ["a"]),
    ],
)
def test_a_kind_that_is_named_holds_but_for_resources(text: str, kind: Kind, expected: list[str]) -> None:
    assert images(text, kind) == expected


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("Dockerfile", Kind.DOCKERFILE),
        ("x/Dockerfile.prod", Kind.DOCKERFILE),
        ("Dockerfile-dev", Kind.DOCKERFILE),
        ("app.Dockerfile", Kind.DOCKERFILE),
        ("Containerfile", Kind.DOCKERFILE),
        ("Dockerfile.dockerignore", None),
        ("dockerfile.md", None),
        ("compose.yaml", Kind.COMPOSE),
        ("docker-compose.yml", Kind.COMPOSE),
        ("docker-compose.prod.yml", Kind.COMPOSE),
        ("shop.compose.yaml", Kind.COMPOSE),
        ("decompose.yaml", Kind.YAML),
        ("kustomization.yaml", Kind.KUSTOMIZATION),
        ("Kustomization", Kind.KUSTOMIZATION),
        (".gitlab-ci.yml", Kind.GITLAB),
        ("build.gitlab-ci.yml", Kind.GITLAB),
        (".gitlab/ci/x.yml", Kind.GITLAB),
        (".github/workflows/x.yaml", Kind.GITHUB),
        ("action.yml", Kind.GITHUB),
        ("deploy.yaml", Kind.YAML),
        ("x.json", None),
        ("README.md", None),
        ("x.yaml.tmpl", None),
    ],
)
def test_a_name_says_what_a_file_is(path: str, kind: Kind | None) -> None:
    assert kind_of(Path(path)) is kind


# In each kind of file, with the image in the place of @, as JSON and so as YAML writes it.
IN_FILES = {
    Kind.KUBERNETES: "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: @}]}\n",
    Kind.COMPOSE: "services:\n  a:\n    image: @\n",
    Kind.GITHUB: "jobs:\n  a:\n    runs-on: x\n    services: {b: {image: @}}\n",
    Kind.GITLAB: "a:\n  image: @\n  script: x\n",
    Kind.KUSTOMIZATION: "images:\n- newName: @\n",
}


@pytest.mark.parametrize("row", rewrite_table.rows(), ids=str)
def test_the_table_of_rules_holds_in_each_kind_of_file(row: rewrite_table.Row) -> None:
    rules = rewrite_table.rules(row.group)
    for kind, text in IN_FILES.items():
        before, after = (text.replace("@", json.dumps(image)) for image in (row.reference, row.result))
        assert rewrite_text(before, rules, kind).text == (after if row.changes else before)
    if row.reference.split() == [row.reference]:
        before, after = (f'FROM "{image}" AS stage\n' for image in (row.reference, row.result))
        assert rewrite_text(before, rules, Kind.DOCKERFILE).text == (after if row.changes else before)


@pytest.mark.parametrize("key", ["containers", "initContainers", "ephemeralContainers"])
def test_each_list_of_containers_is_found_wherever_it_is(key: str) -> None:
    pod = f"{key}: [{{image: a}}, {{name: x}}, y, {{image: {{b: c}}}}]"
    assert images(f"apiVersion: v1\nkind: X\nspec: {{a: [{{b: {{{pod}}}}}]}}") == ["a"]


@pytest.mark.parametrize("key", ["metadata", "status"])
def test_what_a_resource_says_of_itself_is_not_looked_at(key: str) -> None:
    assert images(f"apiVersion: v1\nkind: X\n{key}: {{containers: [{{image: a}}]}}") == []
    assert images(f"apiVersion: v1\nkind: X\nspec: {{{key}: {{containers: [{{image: a}}]}}}}") == ["a"]


def test_a_definition_in_a_list_has_no_images() -> None:
    definition = "{apiVersion: v1, kind: CustomResourceDefinition, containers: [{image: a}]}"
    assert images(f"apiVersion: v1\nkind: List\nitems: [{definition}]") == []


# -- fields of custom resources ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("spec.a", ["1"]),
        ("spec.b[].c", ["2", "3"]),
        ("spec.*.d", ["4"]),
        ("spec.**.d", ["4", "5"]),
        ("spec.g[][]", ["6"]),
        ("spec.a[]", []),
        ("spec.b.c", []),
        ("none", []),
        ("spec.b", []),
    ],
)
def test_a_path_leads_to_its_scalars(path: str, expected: list[str]) -> None:
    text = """
apiVersion: x.example/v1
kind: Thing
spec:
  a: "1"
  b: [{c: "2"}, {c: "3"}, {}]
  e: {d: "4", f: [{d: "5"}]}
  g: [["6"]]
"""
    for key in ("Thing", "Thing.x.example", "*"):
        assert sorted(images(text, fields=Fields({key: (path,)}))) == expected
    assert images(text, fields=Fields({"Thing.y.example": (path,), "Other": (path,)})) == []


def test_a_path_of_any_depth_ends_where_a_document_refers_to_itself() -> None:
    text = "apiVersion: v1\nkind: X\nspec: &s {image: a, more: *s, list: [*s]}"
    assert images(text, fields=Fields({"X": ("**.image",)})) == ["a"]


def test_every_built_in_field_is_one_that_could_be_configured() -> None:
    for kind, paths in BUILT_IN.items():
        check_kind(kind)
        for path in paths:
            check_path(path)


# -- GitLab's services ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "alias"),
    [
        ("postgres", "postgres"),
        ("postgres:16", "postgres"),
        ("postgres:16@sha256:" + "a" * 64, "postgres"),
        ("tutum/wordpress:latest", "tutum__wordpress,tutum-wordpress"),
        ("reg.example:4999/a/b:1", "reg.example__a__b,reg.example-a-b"),
        ("docker.io/library/redis", "docker.io__library__redis,docker.io-library-redis"),
        ("$X", None),
    ],
)
def test_a_service_is_reached_under_names_made_of_its_image(image: str, alias: str | None) -> None:
    assert gitlab_alias(image) == alias


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("- a", '- {name: "m.lan/library/a", alias: "a"}'),
        ("- 'a'  # b", '- {name: "m.lan/library/a", alias: "a"}  # b'),
        ("- {name: a}", '- {name: m.lan/library/a, alias: "a"}'),
        ("- name: a\n      command: [b]", '- name: m.lan/library/a\n      alias: "a"\n      command: [b]'),
        (
            '- command: [b]\n      name: "a"',
            '- command: [b]\n      name: "m.lan/library/a"\n      alias: "a"',
        ),
        ("- {name: a, alias: b}", "- {name: m.lan/library/a, alias: b}"),
        ("- &x {name: a}", "- &x {name: m.lan/library/a}"),
        ("- ? name\n      : a", "- ? name\n      : m.lan/library/a"),
        ("- >-\n      a", "- >-\n      m.lan/library/a"),
        ("- q.lan/a", "- q.lan/a"),
        ("- $A", "- $A"),
        ("- {alias: a}", "- {alias: a}"),
        ("- [a]", "- [a]"),
    ],
)
def test_a_service_keeps_the_name_under_which_it_is_reached(before: str, after: str) -> None:
    text = "job:\n  script: x\n  services:\n    {}\n"
    assert rewrite_text(text.format(before), RULES).text == text.format(after)


def test_an_anchor_that_is_an_image_and_a_service_stays_a_name() -> None:
    text = "job:\n  script: x\n  image: &i a\n  services: [*i]\n"
    assert rewrite_text(text, RULES).text == text.replace("&i a", "&i m.lan/library/a")
