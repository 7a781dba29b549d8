"""Settings are read from the environment, and a wrong one is named before anything is served."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from app.settings import Settings, Toleration


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        pytest.param("LEADER_IMAGE", "r/leader:v2", "r/leader:v2", id="an image"),
        pytest.param("IMAGE_PULL_POLICY", "Always", "Always", id="a pull policy"),
        pytest.param("NODE_SELECTOR", "a=b, c=d", {"a": "b", "c": "d"}, id="labels"),
        pytest.param("NODE_SELECTOR", "", {}, id="no labels"),
        pytest.param("NODE_SELECTOR", "pool=", {"pool": ""}, id="an empty label"),
        pytest.param("SUPPLEMENTAL_GROUPS", "44, 993", (44, 993), id="groups"),
        pytest.param("SUPPLEMENTAL_GROUPS", "", (), id="no groups"),
        pytest.param("TOLERATIONS", "[]", (), id="no tolerations"),
        pytest.param(
            "TOLERATIONS",
            '[{"key": "gpu", "operator": "Equal", "value": "amd", "effect": "NoSchedule"}]',
            (Toleration(key="gpu", operator="Equal", value="amd", effect="NoSchedule"),),
            id="tolerations",
        ),
        pytest.param("CACHE_SIZE", "1024Gi", "1Ti", id="a quantity in its stored form"),
        pytest.param("DRAIN", "1m30s", "1m30s", id="a duration"),
        pytest.param("SHARING", "exclusive", "exclusive", id="sharing"),
        pytest.param("CLUSTER_CIDRS", "10.96.0.0/12, fd00::/64", ("10.96.0.0/12", "fd00::/64"), id="ranges"),
        pytest.param("DOWNLOADER_ALLOWED_HOSTS", "a.svc:9000,10.0.0.1", ("a.svc:9000", "10.0.0.1"), id="hosts"),
        pytest.param(
            "DOWNLOADER_ENV",
            '{"HTTPS_PROXY": "http://proxy:3128", "X": "http://h:80/a@b", "NO_PROXY": "a@b"}',
            {"HTTPS_PROXY": "http://proxy:3128", "X": "http://h:80/a@b", "NO_PROXY": "a@b"},
            id="proxies and paths without credentials",
        ),
        pytest.param("DOWNLOADER_ENV", '{"NO_PROXY": "a,b=c"}', {"NO_PROXY": "a,b=c"}, id="variables"),
    ],
)
def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any) -> None:
    monkeypatch.setenv(f"INFERENCE_{name}", text)
    assert getattr(Settings(), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("IMAGE_PULL_POLICY", "Sometimes", id="an unknown policy"),
        pytest.param("NODE_SELECTOR", "accelerator", id="a label without value"),
        pytest.param("NODE_SELECTOR", "accelerator=amd gpu", id="a value that no label has"),
        pytest.param("NODE_SELECTOR", "amd/gpu/x=1", id="a label with two slashes"),
        pytest.param("GPU_RESOURCE", "amd.com gpu", id="a resource with a blank"),
        pytest.param("GPU_RESOURCE", "gpu", id="a resource without a domain"),
        pytest.param("ZONE_LABEL", "topology.kubernetes.io/", id="half a label"),
        pytest.param("SUPPLEMENTAL_GROUPS", "render", id="a group by name"),
        pytest.param("TOLERATIONS", '[{"key": "a", "operater": "Exists"}]', id="a toleration with a slip"),
        pytest.param("CACHE_SIZE", "100 GB", id="no quantity"),
        pytest.param("START_BUDGET", "half an hour", id="no duration"),
        pytest.param("SHARING", "sometimes", id="unknown sharing"),
        pytest.param("DOWNLOADER_ENV", '{"HF_TOKEN": "hf_x"}', id="a secret outside Secrets"),
        *(
            pytest.param("DOWNLOADER_ENV", f'{{"{name}": "{value}"}}', id=f"credentials in {name}={value}")
            for name, value in (
                ("HTTPS_PROXY", "http://me:pw@proxy.example:3128"),
                ("https_proxy", "me:pw@proxy.example:3128"),
                ("ALL_PROXY", "http://token@proxy.example"),
                ("HTTP_PROXY", "http://me:p/w@proxy.example"),
                ("HF_ENDPOINT", "https://me:pw@hub.example"),
                ("HF_ENDPOINT", "https://me:p?w@hub.example/x"),
                ("HUGGING_FACE_HUB_TOKEN", "hf_x"),
                ("PROXY_PASSWORD", "pw"),
            )
        ),
        pytest.param("CLUSTER_CIDRS", "10.96.0.1/12", id="a range with bits of a host"),
        pytest.param("CLUSTER_CIDRS", "all", id="no range"),
        pytest.param("DOWNLOADER_ALLOWED_HOSTS", "https://minio", id="a URL where a host belongs"),
        pytest.param("DOWNLOADER_ENV", '{"INFERENCE_PATH": "x"}', id="a variable of the operator's own"),
        pytest.param("DOWNLOADER_ENV", '{"A-B": "x"}', id="no name of a variable"),
        pytest.param("DOWNLOADER_ENV", "HF_ENDPOINT=https://hub.example", id="no JSON"),
        pytest.param("EXPORTER_PORT", "0", id="no port"),
        pytest.param("EXPORTER_NAMESPACE", "kube_amd", id="no namespace"),
        pytest.param("CLIENT_NAMESPACES", "ingress-nginx,A_B", id="one that is no namespace"),
        pytest.param("GPU_ARCHITECTURES", "mi300", id="a product where an architecture belongs"),
        pytest.param("ALLOWED_VARIABLES", "LD_PRE LOAD", id="a variable with a blank"),
        pytest.param("INGRESS_HOSTS", "*.{ns}.example.com", id="a placeholder that there is not"),
        pytest.param("INGRESS_HOSTS", "https://example.com", id="a URL where a host belongs"),
        pytest.param("HOST_PATH_PREFIXES", "data", id="half a path"),
        pytest.param("HOST_PATH_PREFIXES", "/mnt/..", id="a path that leads out"),
        pytest.param("HOST_PATH_PREFIXES", "/", id="the whole node"),
        pytest.param("STORAGE_CLASS", "Fast SSD", id="no name of a class"),
        pytest.param("TOKEN_SECRET", "hf_x", id="a token where the name of a Secret belongs"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"INFERENCE_{name}", text)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_the_defaults_are_those_of_the_specifications_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"INFERENCE_{name.upper()}", raising=False)
    settings = Settings()
    assert (settings.gpu_resource, settings.sharing, settings.cache_size) == ("amd.com/gpu", "shared", "100Gi")
    assert settings.tolerations == (Toleration(key="amd.com/gpu"),)


def test_settings_cannot_be_changed_while_serving() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().sharing = "exclusive"  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
