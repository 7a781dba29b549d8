"""Whether and how a model fits the GPUs: model x GPU -> Fits | DoesNotFit | Unknown. Pure; standard library only.

`fit.py` is the entrance, `request.py` what goes in and comes out. What is known of models and GPUs: `model.py`,
`hf_config/`, `catalog.py`; the arithmetic: `parallelism.py`, `memory/`; what speaks against it: `checks/`; which of
several is best: `search.py`, `ranking.py`; what would do when nothing does: `suggestion.py`.
"""
