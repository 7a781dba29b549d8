"""Composition root: settings from the environment -> the application (`uvicorn app.main:app`)."""

import gc
import sys

from app.serving.http import build_app
from app.settings import SettingsError, read_settings

try:
    app = build_app(read_settings())
except SettingsError as error:
    print(f"wrong settings: {error}", file=sys.stderr)
    raise SystemExit(2) from None

# The modules hold some 90,000 objects that live as long as the process; the collector need not visit them again.
gc.collect()
gc.freeze()
