"""All that a decision about a ModelCache is made from, and what follows from it directly."""

from __future__ import annotations

from dataclasses import dataclass

from app.hook import Parent
from app.kube.conditions import parse_time
from app.modelcache.download import Download
from app.modelcache.observed import Claim, Job, Observed, claim_name
from app.modelcache.spec import ModelCacheSpec
from app.settings import Settings


@dataclass(frozen=True)
class Facts:
    """The spec, the download it asks for, and what is there."""

    cache: str
    namespace: str
    spec: ModelCacheSpec
    size: str
    download: Download
    observed: Observed

    @property
    def claim(self) -> Claim | None:
        return self.observed.claim

    @property
    def job(self) -> Job | None:
        return self.observed.job

    @property
    def claim_name(self) -> str:
        return claim_name(self.cache)

    @property
    def is_lost(self) -> bool:
        return self.claim is not None and self.claim.phase == "Lost"

    def on_this_volume(self, finished: str) -> bool:
        """Whether work that finished then is on today's volume: a claim that was made later is empty."""
        if self.claim is None:
            return False
        made, end = self.claim.created, parse_time(finished)
        return made is None or end is None or made <= end


def facts_of(parent: Parent, spec: ModelCacheSpec, download: Download, observed: Observed, settings: Settings) -> Facts:
    """A spec without a size asks for no change of a claim that is there, whatever today's default is."""
    there = observed.claim.size if observed.claim else ""
    return Facts(parent.name, parent.namespace, spec, spec.size or there or settings.cache_size, download, observed)
