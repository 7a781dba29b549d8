"""The operator's settings, as they stand in its ConfigMap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app.cli.errors import InputError
from app.settings import PREFIX, Settings, SettingsError, describe, read_settings


def from_environment() -> Settings:
    """The same variables that the operator reads."""
    try:
        return read_settings()
    except SettingsError as error:
        raise InputError(f"the environment: {error}") from None


def from_variables(variables: Mapping[str, str], where: str) -> Settings:
    """Settings as a ConfigMap holds them."""
    named = {key.removeprefix(PREFIX).lower(): value for key, value in variables.items() if key.startswith(PREFIX)}
    values: dict[str, Any] = dict(named)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise InputError(f"{where}: {describe(error)}") from None
