"""Every source that is declared is complete: spec, transfer, URIs, credentials, documents."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from app.api.v1alpha1.inferenceservice import ModelSpec
from app.api.v1alpha1.source import SourceMember, SourceSpec
from app.contracts.sources import PREFIXES, SOURCE_PATTERN, SOURCES, Source, SourceType, parse_source
from app.downloader.listing import Source as Transfer
from app.downloader.sources.registry import source_module
from app.settings import Settings
from app.source.container import source_json
from app.source.credentials import credential_env, credential_mounts, credential_volumes
from tools.sandbox.hooks import PROJECT

URI = re.compile("[a-z0-9]+://")
METHODS = [name for name, value in vars(Transfer).items() if callable(value) and not name.startswith("_")]
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda it: it.type)


def examples(source: Source) -> list[str]:
    """URIs as people write them; of a source whose form is told in words, files below each of its schemes."""
    return [it for it in source.forms if URI.match(it)] or [f"{scheme}files.example/model" for scheme in source.schemes]


def member(source: Source, uri: str) -> SourceMember:
    found = SourceSpec.model_validate(parse_source(uri)).member
    assert found is not None
    return found


def test_each_type_is_declared_once() -> None:
    assert sorted(it.type for it in SOURCES) == sorted(SourceType)
    assert len(PREFIXES) == len(set(PREFIXES))


def test_the_spec_has_a_member_for_each_type_and_no_other() -> None:
    assert set(SourceSpec.model_fields) - {"type"} == {it.value for it in SourceType}


@every_source
def test_each_source_has_a_module_that_transfers_it(source: Source) -> None:
    built = source_module(source.type).build(json.loads(source_json(member(source, examples(source)[0]))))
    assert [name for name in METHODS if not callable(getattr(type(built), name, None))] == []
    assert built.identity
    built.close()


@every_source
def test_each_uri_is_admitted_and_makes_a_cache_of_its_source(source: Source) -> None:
    for uri in examples(source):
        assert re.fullmatch(SOURCE_PATTERN, uri)
        assert ModelSpec(name="m", source=uri).source == uri
        assert parse_source(uri)["type"] == source.type.value
        assert isinstance(member(source, uri), SourceMember)


@every_source
def test_no_two_sources_admit_the_same(source: Source) -> None:
    for uri in examples(source):
        assert [it.type for it in SOURCES if re.fullmatch(it.pattern, uri)] == [source.type]


@every_source
def test_each_source_gets_its_credentials_by_reference(source: Source) -> None:
    parts = member(source, examples(source)[0])
    if not source.credentials.keys:
        assert parts.secret_field not in type(parts).model_fields
        return
    named = parts.model_copy(update={parts.secret_field: "mine"})
    assert [it.name for it in credential_env(source.type, named, "")] == list(source.credentials.keys)
    assert len(credential_volumes(source.type, named)) == len(credential_mounts(source.type, named)) <= 1
    assert bool(credential_volumes(source.type, named)) == bool(source.credentials.files)
    field = type(parts).model_fields[parts.secret_field]
    assert [key for key in source.credentials.keys.values() if key not in (field.description or "")] == []


@every_source
def test_no_setting_may_hold_its_secrets(source: Source) -> None:
    for name in source.credentials.values:
        with pytest.raises(ValidationError, match=name):
            Settings(downloader_env={name: "x"})


@every_source
def test_each_source_is_in_the_documents(source: Source) -> None:
    fetched = (PROJECT / "docs" / "downloader.md").read_text()
    fields = (PROJECT / "docs" / "modelcache.md").read_text()
    uris = (PROJECT / "docs" / "inferenceservice.md").read_text().replace("http(s)://", "http:// https://")
    assert f"| `{source.type}` |" in fetched
    assert f"`{source.type}`" in fields
    assert [it for it in source.schemes if it not in uris] == []
