"""Composition root: settings from the environment -> the application. `uvicorn app.main:app`."""

from app.http import build_app
from app.settings import Settings

app = build_app(Settings())
