"""Which annotations and hosts an Ingress may have: what the administrator lists, and nothing else.

An Ingress controller reads configuration from annotations: with a snippet or an address for authentication a user of
one namespace reads or redirects the traffic of all, and a host name is whoever asks for it first. So:

- An annotation that is not listed, or whose value could end a line of the controller's configuration, is left out.
- A host that is not listed gets no Ingress.
- What stands on an Ingress since before, with the same value, stays, so that an upgrade breaks no route; but never what
  is code or sends requests elsewhere.

The service itself runs either way: the Ingress is but one way to it, and a condition says what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.api.v1alpha1.ingress import IngressSpec
from app.kube.lenient import mapping_at, mappings_at, text_at
from app.kube.manifest import Manifest, with_value
from app.kube.names import MODEL_ANNOTATION
from app.settings import Settings

_UNSAFE_VALUE = re.compile(r"[\x00-\x1f\x7f{};`\\]")
"""Ends a directive or a line, or opens a block, in the configuration that a controller writes."""
_UNPLAIN_VALUE = re.compile(r"[#$'\"\x80-\x9f\u2028\u2029]")
"""Hides the end of a directive in a comment or a text, or names a variable. What stood before may have it."""
_SHOWN = 4
"""Names quoted in a note; the rest are counted."""
_BY_NAME_ALONE = re.compile(r"snippet|lua|script")
"""Holds configuration or code as such: a pattern does not admit it, its whole name does."""
_NEVER_KEPT = re.compile(
    r"snippet|lua|script|auth|mirror|middleware|plugin|config|modsecurity|redirect-from|permanent-redirect"
    r"|temporal-redirect|rewrite|server-alias|upstream|proxy-ssl|proxy-pass|backend-|default-backend|canary|cors"
    r"|secret|group\.name|actions\.|conditions\.|external-dns|jwt|oidc|oauth|waf|header|forward|service\.|router"
    r"|metacontroller|inference\.ai|kubectl",
    re.IGNORECASE,
)
"""Code, or where requests and secrets go: left out of an Ingress that has it, too."""


@dataclass(frozen=True)
class AllowedIngress:
    """The ingress as it may be built, and what of it may not."""

    spec: IngressSpec
    notes: tuple[str, ...] = ()
    """Sentences that begin with the field below the ingress."""


def allow_ingress(
    ingress: IngressSpec, namespace: str, settings: Settings, standing: Mapping[str, Any] | None
) -> AllowedIngress:
    """What of an ingress is allowed in a namespace; `standing` is the Ingress as it is in the cluster."""
    if not ingress.enabled:
        return AllowedIngress(ingress, tuple(_switched_off(ingress)))
    host, hosts = str(ingress.host), settings.ingress_hosts
    if not is_host_allowed(host, namespace, hosts) and host not in _hosts(standing):
        return AllowedIngress(ingress.model_copy(update={"enabled": False}), (_refused_host(host, namespace, hosts),))
    before = mapping_at(standing, "metadata", "annotations")
    refused = {name for name, value in ingress.annotations.items() if not _is_allowed(name, value, settings)}
    kept = {name for name in refused if _may_stay(name, ingress.annotations[name], before)}
    rest = {name: value for name, value in ingress.annotations.items() if name not in refused - kept}
    known = is_host_allowed(host, namespace, hosts)
    stays = () if known else (f"{_refused_host(host, namespace, hosts)}; it stays, because the Ingress had it before",)
    tls = () if ingress.tls.enabled else tuple(_tls_off(ingress))
    notes = (*stays, *tls, *_annotation_notes(refused - kept, kept, settings.ingress_annotations))
    return AllowedIngress(ingress.model_copy(update={"annotations": rest}), notes)


def without_code(child: Manifest, settings: Settings) -> Manifest:
    """A child as it is, but an Ingress without what must not stay on one. For answers that keep what stands."""
    annotations = mapping_at(child, "metadata", "annotations")
    if child.get("kind") != "Ingress":
        return child
    rest = {
        name: value
        for name, value in annotations.items()
        if name == MODEL_ANNOTATION or not _NEVER_KEPT.search(name) or _is_allowed(name, str(value), settings)
    }
    return child if rest == annotations else with_value(child, ("metadata", "annotations"), rest)


def is_host_allowed(host: str, namespace: str, patterns: tuple[str, ...]) -> bool:
    return any(pattern == "*" or _host_pattern(pattern, namespace).fullmatch(host) for pattern in patterns)


@cache
def _annotation_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*"))


def _host_pattern(pattern: str, namespace: str) -> re.Pattern[str]:
    """A star never reaches over a dot, as in certificates."""
    parts = (re.escape(part).replace(r"\*", "[^.]*") for part in pattern.split("{namespace}"))
    return re.compile(re.escape(namespace).join(parts))


def _is_allowed(name: str, value: str, settings: Settings) -> bool:
    patterns = settings.ingress_annotations
    if _BY_NAME_ALONE.search(name):
        return name in patterns
    is_plain = not _UNSAFE_VALUE.search(value) and not _UNPLAIN_VALUE.search(value)
    return is_plain and any(_annotation_pattern(it).fullmatch(name) for it in patterns)


def _may_stay(name: str, value: str, before: Mapping[str, Any]) -> bool:
    return before.get(name) == value and not _NEVER_KEPT.search(name) and not _UNSAFE_VALUE.search(value)


def _hosts(standing: Mapping[str, Any] | None) -> set[str]:
    return {text_at(rule, "host") for rule in mappings_at(standing, "spec", "rules")}


def _refused_host(host: str, namespace: str, patterns: tuple[str, ...]) -> str:
    shown = ", ".join(pattern.replace("{namespace}", namespace) for pattern in patterns) or "none"
    return f"host: {host} is not allowed in namespace {namespace}; allowed are {shown} (INFERENCE_INGRESS_HOSTS)"


def _switched_off(ingress: IngressSpec) -> Iterator[str]:
    given = ingress.differing()
    if given:
        yield f"{', '.join(given)}: without effect, because ingress.enabled is false"


def _tls_off(ingress: IngressSpec) -> Iterator[str]:
    given = ingress.tls.differing()
    if given:
        yield f"tls.{', '.join(given)}: without effect, because tls.enabled is false"


def _annotation_notes(left_out: set[str], kept: set[str], patterns: tuple[str, ...]) -> Iterator[str]:
    said = [f"{_shown(left_out)} left out"] if left_out else []
    said += [f"{_shown(kept)} not allowed, but kept, because the Ingress had it before"] if kept else []
    if said:
        without = "in one line without { } ; ` \\ # $ ' \""
        yield f"annotations: {'; '.join(said)}; {_allowed(left_out | kept, patterns)}, {without}"


def _shown(names: set[str]) -> str:
    first, more = sorted(names)[:_SHOWN], len(names) - _SHOWN
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _allowed(names: set[str], patterns: tuple[str, ...]) -> str:
    """Those of the same controllers; of others the setting tells."""
    alike: dict[str, list[str]] = {}
    for controller, _, name in (pattern.partition("/") for pattern in patterns):
        if controller == "*" or any(it.startswith(f"{controller}/") for it in names):
            alike.setdefault(controller, []).append(name)
    shown = [f"{controller}/: {', '.join(found)}" for controller, found in alike.items() if controller != "*"]
    return f"allowed are {'; '.join(shown) or 'none like them'} (INFERENCE_INGRESS_ANNOTATIONS)"
