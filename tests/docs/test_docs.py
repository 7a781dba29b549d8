"""Documents against the code: each test fails with the page and what to edit there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.api.schema import API_VERSION
from app.hooks.kinds import KINDS
from app.kube.conditions import ErrorClass, Reason
from app.settings import Settings
from tests.golden.schemas import custom_schemas

PROJECT = Path(__file__).parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
LONGEST_LINE = 120

_FENCE = re.compile(r"^( *)(`{3,})(\w*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_WORDS_FOR_DEFAULTS = {
    "INFERENCE_GPU_ARCHITECTURES": "those of vLLM's ROCm image",
    "INFERENCE_NODE_SELECTOR": "empty",
    "INFERENCE_STORAGE_CLASS": "empty",
    "INFERENCE_TOKEN_SECRET": "empty",
    "INFERENCE_EXPORTER_NAMESPACE": "empty",
    "INFERENCE_KEEP_REVISIONS": "empty",
    "INFERENCE_HOST_PATH_PREFIXES": "empty",
    "INFERENCE_CLIENT_NAMESPACES": "empty",
    "INFERENCE_INGRESS_ANNOTATIONS": "[a list](docs/security.md#ingresses)",
    "INFERENCE_INGRESS_HOSTS": "`*`",
    "INFERENCE_ALLOWED_VARIABLES": "empty",
    "INFERENCE_CLUSTER_CIDRS": "empty",
    "INFERENCE_DOWNLOADER_ALLOWED_HOSTS": "empty",
    "INFERENCE_TOLERATIONS": "`amd.com/gpu` Exists",
    "INFERENCE_SUPPLEMENTAL_GROUPS": "`44,109`",
}
"""Defaults that the table says in words, because they are no scalars."""


def page_name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


def fences(text: str, language: str = "") -> list[str]:
    """Contents of the code blocks, of one language or of all, without their indentation."""
    return [
        "\n".join(line.removeprefix(indent) for line in body.splitlines())
        for indent, _, named, body in _FENCE.findall(text)
        if language in ("", named)
    ]


def prose(text: str) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", text)


def section(path: Path, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level, start = next(
        (len(found[0]) - len(found[0].lstrip("#")), found.end())
        for found in _HEADING.finditer(path.read_text())
        if found[1] == heading
    )
    rest = path.read_text()[start:]
    end = re.search(rf"^#{{1,{level}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(table: str) -> list[list[str]]:
    """Cells of the rows of all tables in a text, headings and rules left out."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [index for index, row in enumerate(cells) if all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    left_out = {*rules, *(index - 1 for index in rules)}
    return [row for index, row in enumerate(cells) if index not in left_out]


def setting_rows() -> dict[str, str]:
    """Default, as it is written, by variable."""
    return {row[0].strip("`"): row[1] for row in rows(section(PROJECT / "README.md", "Settings"))}


def test_the_table_of_settings_names_every_setting_once() -> None:
    names = [row[0].strip("`") for row in rows(section(PROJECT / "README.md", "Settings"))]
    assert sorted(names) == sorted(f"INFERENCE_{name.upper()}" for name in Settings.model_fields), (
        "README.md, Settings: one row a field of app/settings.py"
    )


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_table_of_settings_has_the_default_of(name: str) -> None:
    variable, default = f"INFERENCE_{name.upper()}", Settings.model_fields[name].get_default(call_default_factory=True)
    wanted = _WORDS_FOR_DEFAULTS.get(variable, f"`{default}`")
    assert setting_rows()[variable] == wanted, f"README.md, Settings: the default of {variable} is {default}"


def test_defaults_in_words_are_what_the_words_say() -> None:
    settings = Settings.model_construct()
    assert (settings.node_selector, settings.storage_class) == ({}, "")
    assert (settings.token_secret, settings.host_path_prefixes, settings.keep_revisions) == ("", (), None)
    assert settings.client_namespaces == ()
    assert (settings.cluster_cidrs, settings.downloader_allowed_hosts) == ((), ())
    assert settings.supplemental_groups == (44, 109)
    assert (settings.ingress_hosts, settings.allowed_variables) == (("*",), ())
    assert [(it.key, it.operator, it.effect) for it in settings.tolerations] == [("amd.com/gpu", "Exists", None)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_table_of_kinds_has_short_names_and_columns_of(kind: Any) -> None:
    found = {row[0]: row for row in rows((PROJECT / "README.md").read_text())}
    assert kind.plural in found, f"README.md: add {kind.plural} to the table of kinds"
    [short] = kind.short_names
    shown = ", ".join(column.name for column in kind.columns if not column.priority)
    wide = ", ".join(column.name for column in kind.columns if column.priority)
    assert found[kind.plural][1:] == [short, f"{shown} ({wide})" if wide else shown]


@every_page
def test_every_make_target_exists(page: Path) -> None:
    text = page.read_text()
    lines = [line for block in fences(text) for line in block.splitlines()]
    commands = [line for line in (*lines, *_SPAN.findall(prose(text))) if re.match(r"\s*make ", line)]
    targets = {word for line in commands for word in _targets(line)}
    existing = set(re.findall(r"^([a-z0-9-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert targets <= existing, f"{page_name(page)}: no such target: {sorted(targets - existing)}"


def _targets(command: str) -> Iterator[str]:
    """The words of a call of make that are neither variables nor a comment."""
    for word in command.split("#")[0].split()[1:]:
        if "=" in word:
            return
        yield word


def test_every_reason_is_explained() -> None:
    explained = {row[0] for row in rows(section(PROJECT / "docs/conditions.md", "Reasons"))}
    assert set(Reason) <= explained, "docs/conditions.md, Reasons: one row a reason of app/kube/conditions.py"


def test_every_class_of_error_is_explained() -> None:
    explained = {row[0] for row in rows(section(PROJECT / "docs/conditions.md", "Error classes and retries"))}
    assert set(ErrorClass) <= explained, "docs/conditions.md: one row a class of app/kube/conditions.py"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    result = set()
    for heading in _HEADING.findall(prose(page.read_text())):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        result.add(f"{anchor}-{found[anchor]}" if anchor in found else anchor)
        found[anchor] = found.get(anchor, 0) + 1
    return result


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in _LINK.findall(prose(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == [], f"{page_name(page)}: mend these links"


@every_page
def test_lines_are_not_too_long(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), 1)
    long = [f"{number}: {len(line)}" for number, line in lines if len(line) > LONGEST_LINE]
    assert long == [], f"{page_name(page)}: lines have at most {LONGEST_LINE} characters"


@every_page
def test_rows_have_as_many_cells_as_their_heading(page: Path) -> None:
    """A bar inside a code span ends a cell too."""
    lines = prose(page.read_text()).splitlines()
    tables = [(above, below) for above, below in pairwise(lines) if above.startswith("|") and below.startswith("|")]
    wrong = [below for above, below in tables if above.count("|") != below.count("|")]
    assert wrong == [], f"{page_name(page)}: mend these rows"


@every_page
def test_examples_are_objects_that_the_api_server_would_store(page: Path) -> None:
    for block in fences(page.read_text(), "yaml"):
        for document in yaml.safe_load_all(block):
            if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
                schema = custom_schemas()[API_VERSION, document["kind"]]
                errors = [it.message for it in jsonschema.Draft202012Validator(schema).iter_errors(document)]
                assert errors == [], f"{page_name(page)}: mend the example of a {document['kind']}"


def test_every_decision_is_listed() -> None:
    folder = PROJECT / "docs/adr"
    listed = set(_LINK.findall((folder / "README.md").read_text()))
    assert listed >= {path.name for path in folder.glob("0*.md")}, "edit docs/adr/README.md"


NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_guard_rail_has_its_test() -> None:
    page = (PROJECT / "docs/security.md").read_text()
    rails = [
        line for line in section(PROJECT / "docs/security.md", "Guard rails").splitlines() if line.startswith("- ")
    ]
    named = NAMED_TEST.findall(page)
    lacking = [f"{file}::{name}" for file, name in named if not has_test(PROJECT / file, name)]
    assert lacking == [], "docs/security.md: these tests do not exist"
    assert len(named) >= sum(1 for line in rails if line.endswith(":")) > 20


def has_test(file: Path, name: str) -> bool:
    return file.exists() and (not name or re.search(rf"^def {name}\(", file.read_text(), re.MULTILINE) is not None)


def test_the_page_on_security_lists_the_annotations_that_are_allowed() -> None:
    said = section(PROJECT / "docs/security.md", "Ingresses")
    allowed = Settings.model_construct().ingress_annotations
    missing = [it for it in allowed if it.partition("/")[2] not in said or it.partition("/")[0] not in said]
    assert missing == [], "docs/security.md, Ingresses: the default of INFERENCE_INGRESS_ANNOTATIONS"
