"""The project's own images on the local bases: one recipe each, from the Dockerfiles in images/."""

from __future__ import annotations

from tools.sandbox.node.build import PROJECT, Recipe, base_recipe, vllm_recipe

IMAGES = PROJECT / "images"
PYTHON_PROJECT = tuple(PROJECT / name for name in ("pyproject.toml", "README.md", "LICENSE", "requirements"))
APP = PROJECT / "app"


def operator_recipe(base: Recipe) -> Recipe:
    """Hook service and agent."""
    sources = (APP, *PYTHON_PROJECT)
    return Recipe("inference-operator", IMAGES / "operator" / "Dockerfile", PROJECT, sources, {"BASE": base.reference})


def runtime_recipe(base: Recipe, role: str) -> Recipe:
    """Leader or worker: two targets of one file, so that they share their layers."""
    folder = IMAGES / "runtime"
    sources = (folder, APP / "__init__.py", APP / "kube", PROJECT / "requirements")
    return Recipe(f"inference-{role}", folder / "Dockerfile", PROJECT, sources, {"BASE": base.reference}, target=role)


def downloader_recipe(base: Recipe) -> Recipe:
    folder = IMAGES / "downloader"
    sources = (folder, APP, *PYTHON_PROJECT)
    return Recipe("model-downloader", folder / "Dockerfile", PROJECT, sources, {"BASE": base.reference})


def recipes() -> tuple[list[Recipe], list[Recipe]]:
    """Bases, in the order they build on each other; and what runs on the node, named as deploy/ names it."""
    base = base_recipe()
    vllm = vllm_recipe(base)
    ours = [operator_recipe(base), runtime_recipe(vllm, "leader"), runtime_recipe(vllm, "worker")]
    return [base, vllm], [*ours, downloader_recipe(base)]


def names_in_deploy(ours: list[Recipe]) -> dict[str, str]:
    """References by the names under `images:` in deploy/base."""
    return {recipe.name: recipe.reference for recipe in ours}
