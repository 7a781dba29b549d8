"""Settings of a ConfigMap are those that the operator reads from its environment."""

from __future__ import annotations

import pytest

from app.cli.inputs import InputError, settings_from_variables
from app.settings import Settings
from tests.cli.questions import run
from tools.sandbox.hooks import read_settings


def test_the_config_map_of_deploy_means_what_it_means_to_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = read_settings()
    told = settings_from_variables(variables | {"OTHER": "1"}, "ConfigMap it")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert told == Settings()
    assert told.node_selector == {"accelerator": "amd-gpu"}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("INFERENCE_TOLERATIONS", "[", "ConfigMap it: INFERENCE_TOLERATIONS: this is not JSON: "),
        ("INFERENCE_SHARING", "maybe", "ConfigMap it: INFERENCE_SHARING: Input should be 'shared' or 'exclusive'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, value: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        settings_from_variables({name: value}, "ConfigMap it")


def test_a_setting_of_the_environment_that_makes_no_sense_is_named() -> None:
    done = run("plan", "--batch", "-", env={"INFERENCE_SHARING": "maybe"})
    assert (done.returncode, done.stdout) == (1, "")
    assert "the environment: INFERENCE_SHARING: " in done.stderr
