"""The operator's settings, as they stand in its ConfigMap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from app.cli.errors import InputError, refused_field
from app.settings import Settings

PREFIX = "INFERENCE_"


def from_environment() -> Settings:
    """The same variables that the operator reads."""
    try:
        return Settings()
    except ValidationError as error:
        raise refused_field(f"a setting of the environment ({PREFIX}...)", "", error) from None


def from_variables(variables: Mapping[str, str], where: str) -> Settings:
    """Settings as a ConfigMap holds them."""
    named = {key.removeprefix(PREFIX).lower(): value for key, value in variables.items() if key.startswith(PREFIX)}
    values: dict[str, Any] = dict(named)
    try:
        if "tolerations" in values:
            values["tolerations"] = orjson.loads(values["tolerations"])
        return Settings(**values)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{where}: {PREFIX}TOLERATIONS is not JSON: {error}") from None
    except ValidationError as error:
        raise refused_field(where, "", error) from None
