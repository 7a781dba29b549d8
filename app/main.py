"""Composition root: settings from the environment -> the application (`uvicorn app.main:app`)."""

import gc

from app.http import build_app
from app.settings import read_settings

app = build_app(read_settings())

# The modules hold some 90,000 objects that live as long as the process; the collector need not visit them again.
gc.collect()
gc.freeze()
