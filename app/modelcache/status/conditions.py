"""The conditions, without their times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.contracts.download import DownloadReport
from app.kube.conditions import (
    Condition,
    Finding,
    Reason,
    Status,
    find_condition,
)
from app.kube.lenient import text_at
from app.kube.quantity import parse_quantity
from app.modelcache.facts import Facts
from app.modelcache.plan import Plan
from app.modelcache.status.waiting import unbound, waiting, waiting_reason
from app.modelcache.volume import VolumeKind


def ready(facts: Facts, plan: Plan, trouble: Finding | None) -> Condition:
    if plan.readable:
        return Condition("Ready", Status.TRUE, Reason.SUCCESSFUL, _readable(facts, plan, trouble))
    if trouble:
        return Condition("Ready", Status.FALSE, trouble.reason, f"{trouble.message} [{trouble.error.value}]")
    return Condition("Ready", Status.FALSE, waiting_reason(facts), waiting(facts))


def downloaded(facts: Facts, plan: Plan, trouble: Finding | None) -> Condition:
    if plan.complete:
        return Condition("Downloaded", Status.TRUE, Reason.SUCCESSFUL, _done(facts))
    if trouble:
        return Condition("Downloaded", Status.FALSE, trouble.reason, f"{trouble.message} [{trouble.error.value}]")
    return Condition("Downloaded", Status.FALSE, waiting_reason(facts), waiting(facts))


def _done(facts: Facts) -> str:
    if facts.volume.kind is VolumeKind.NONE:
        return "Nothing is kept: spec.caching.enabled is false."
    done = "Model successfully downloaded and cached."
    report = facts.first_done.report if facts.first_done else None
    return f"{done} {report.warning}" if report and report.warning else done


def _readable(facts: Facts, plan: Plan, trouble: Finding | None) -> str:
    model = facts.download.task.model
    if facts.volume.kind is VolumeKind.NONE:
        return f"Every pod fetches model {model} for itself before it starts: spec.caching.enabled is false."
    where = f"Model {model} is at {facts.path} on {_place(facts)}."
    if plan.complete:
        return f"{where} {trouble.message}" if trouble else where
    return f"{where} {_behind(facts)} {trouble.message if trouble else waiting(facts)}"


def _behind(facts: Facts) -> str:
    if facts.first_done and facts.first_done.complete:
        filled = sum(done.complete for done in facts.completions)
        return f"{filled} of {len(facts.copies)} copies are filled."
    return "This is an earlier download."


def _place(facts: Facts) -> str:
    names = [copy.claim_name for copy in facts.copies if copy.claim_name]
    if not names:
        return f"folder {facts.volume.host_path} of the nodes"
    return f"PersistentVolumeClaim {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def verified(facts: Facts, previous: Sequence[Mapping[str, Any]]) -> list[Condition]:
    """By hashes of the source; sizes are always compared. What was said stays when the Job is removed."""
    first, done = facts.first, facts.first_done
    if first is None or done is None or not done.complete:
        return []
    return [_verified_now(done.report)] if first.job else _verified_before(previous)


def _verified_before(previous: Sequence[Mapping[str, Any]]) -> list[Condition]:
    found = find_condition(previous, "Verified")
    try:
        status, reason = Status(str(found.get("status"))), Reason(str(found.get("reason")))
    except ValueError:
        return []
    return [Condition("Verified", status, reason, text_at(found, "message"))]


def _verified_now(report: DownloadReport | None) -> Condition:
    if report is None:
        message = "The downloader did not report how it ended: its last words were lost."
        return Condition("Verified", Status.UNKNOWN, Reason.UNVERIFIED, message)
    verified, files = report.verified_files, max(report.files_total, report.files_done)
    if not verified:
        message = "The source gives no hashes: sizes were compared."
        return Condition("Verified", Status.UNKNOWN, Reason.UNVERIFIED, message)
    rest = "" if verified >= files else " Of the others the source gives no hash, and sizes were compared."
    message = f"{verified} of {max(files, verified)} files have the hash that the source gives.{rest}"
    return Condition("Verified", Status.TRUE, Reason.SUCCESSFUL, message)


def storage(facts: Facts, plan: Plan) -> list[Condition]:
    """None where nothing is kept."""
    if not facts.copies:
        return []
    if plan.forbidden:
        message = f"Folder {facts.volume.host_path} of the nodes is not allowed: see Ready."
        return [Condition("StorageReady", Status.FALSE, Reason.CONFIGURATION_ERROR, message)]
    lost = next((copy for copy in facts.copies if copy.is_lost), None)
    if lost:
        message = f"PersistentVolumeClaim {lost.claim_name} has lost its volume."
        return [Condition("StorageReady", Status.FALSE, Reason.FAILED, message)]
    awaited = next((copy for copy in facts.copies if not copy.is_bound), None)
    if awaited:
        return [Condition("StorageReady", Status.FALSE, Reason.PENDING, unbound(facts, awaited))]
    return [Condition("StorageReady", Status.TRUE, Reason.SUCCESSFUL, _bound(facts))]


def _bound(facts: Facts) -> str:
    """The claim's size, and how far a growth has come."""
    claim = facts.copies[0].claim
    if claim is None:
        return f"Folder {facts.volume.host_path} of the nodes is used."
    there = claim.capacity or claim.size
    bound = f"{_place(facts)} is bound" + (f" with {there}." if there else ".")
    grows = facts.volume.kind is VolumeKind.CLAIMS
    if not there or not grows or parse_quantity(there) >= parse_quantity(facts.size):
        return bound
    return f"{bound} It is to grow to {facts.size}, for which its StorageClass needs allowVolumeExpansion: true."


def unapplied(findings: Sequence[Finding]) -> list[Condition]:
    """One condition for all that the spec asks and that is not done; none when all is."""
    if not findings:
        return []
    wrong = [finding for finding in findings if finding.reason is Reason.CONFIGURATION_ERROR]
    reason = Reason.CONFIGURATION_ERROR if wrong else Reason.PENDING
    return [Condition("SpecApplied", Status.FALSE, reason, " ".join(finding.message for finding in findings))]
