"""Whether and how a model fits the GPUs: model x GPU -> layouts, memory, reasons. Pure; standard library only."""
