"""A checkpoint's config.json, as transformers writes it -> ModelFacts, or why nothing can be said of the model."""
