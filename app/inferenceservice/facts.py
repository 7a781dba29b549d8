"""All that a plan of an InferenceService is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.api.bounds import ENTRIES
from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.contracts.sources import hub_id, parse_source
from app.fit.catalog import find_model
from app.fit.model import ModelFacts, parse_facts
from app.fit.parallelism import Impossible, Parallelism
from app.inferenceservice.demand import Need, plan_need
from app.inferenceservice.fit_inputs import as_served
from app.inferenceservice.neighbours import Neighbour, find_neighbour
from app.inferenceservice.observe import Observed, WorkloadKind, parse_observed
from app.ingress.allowed import allow_ingress
from app.kube.names import REPLAN_ANNOTATION
from app.metacontroller.protocol import Parent, SyncRequest
from app.settings import Settings


@dataclass(frozen=True)
class Identity:
    """Whose plan this is."""

    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...] = ()
    """Its own, which its workload has too; the first ones, where there are very many."""
    replan: str = ""
    """Value of the annotation by which the user asks for today's decision."""
    uid: str = ""

    @property
    def key(self) -> str:
        """Unique in the cluster."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Facts:
    """What the checks look at."""

    identity: Identity
    spec: InferenceServiceSpec
    observed: Observed
    settings: Settings
    asked: Need | Impossible
    """What the pool is asked for, or how the spec's sizes contradict each other."""
    now: datetime
    """Read once at the edge; used only to see that nobody answers."""
    model: ModelFacts | None = None
    """What is known of the model."""
    ingress_notes: tuple[str, ...] = ()
    """What of the spec's ingress is not allowed; `spec` holds the rest."""
    neighbour: Neighbour | None = None
    """Who has the ReadWriteOnce volume that this service reads, and where."""

    @property
    def kind(self) -> WorkloadKind:
        distributed = self.spec.distributed.enabled
        return WorkloadKind.LEADER_WORKER_SET if distributed else WorkloadKind.DEPLOYMENT

    @property
    def need(self) -> Need | None:
        """None when the sizes make no shape."""
        return None if isinstance(self.asked, Impossible) else self.asked

    @property
    def parallelism(self) -> Parallelism | Impossible:
        """What the spec's sizes alone make of a group."""
        return self.asked if isinstance(self.asked, Impossible) else self.asked.parallelism

    @property
    def makes_ssh_keys(self) -> bool:
        """Whether mpirun starts this service, and the user brings no key."""
        mpi = self.spec.distributed.mpi
        return self.spec.distributed.enabled and mpi.enabled and mpi.ssh_key_secret is None


def gather_facts(
    request: SyncRequest, spec: InferenceServiceSpec, settings: Settings, now: datetime, told: ModelFacts | None = None
) -> Facts:
    """The facts of one sync; `told` is what somebody beside the cluster says of the model, and it goes first."""
    source = parse_source(spec.model.source) if spec.model.source else None
    observed = parse_observed(request, spec.storage.model_cache, source)
    model = as_served(told, spec) if told else find_model_facts(spec, observed)
    neighbour = find_neighbour(request, observed.cache)
    asked = plan_need(spec, model, settings, neighbour.node if neighbour else "")
    ingress = allow_ingress(spec.networking.ingress, request.parent.namespace, settings, observed.ingress)
    networking = spec.networking.model_copy(update={"ingress": ingress.spec})
    allowed = spec.model_copy(update={"networking": networking})
    notes = tuple(f"networking.ingress.{note}" for note in ingress.notes)
    return Facts(_identity(request.parent), allowed, observed, settings, asked, now, model, notes, neighbour)


def _identity(parent: Parent) -> Identity:
    labels = tuple((key, parent.labels[key]) for key in sorted(parent.labels)[:ENTRIES])
    replan, uid = parent.annotations.get(REPLAN_ANNOTATION, ""), str(parent.metadata.get("uid", ""))
    return Identity(parent.name, parent.namespace, labels, replan, uid)


def find_model_facts(spec: InferenceServiceSpec, observed: Observed) -> ModelFacts | None:
    """What is known of the model: read from its weights, else from the catalogue, else nothing.

    A cache that is there but empty gives its model's name only; the catalogue may know that name.
    """
    cache = observed.cache
    read = parse_facts(cache.facts) if cache and cache.facts else None
    names = [cache.model] if cache else []
    known = (read, *(find_model(hub_id(name)[0]) for name in (*names, spec.model.name)))
    return next((as_served(facts, spec) for facts in known if facts), None)
