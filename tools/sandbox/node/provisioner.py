"""Volumes of the real node: a folder for each claim, as a storage driver would make one, and gone with it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tools.sandbox.api import Api, ApiError, Object, Resource
from tools.sandbox.cluster import Cluster

CLASS = "sandbox-folders"
PROVISIONER = "sandbox.inference.ai/folders"
PERIOD_SECONDS = 0.5
MODE = 0o777
"""The kubelet changes no ownership of host folders, and pods are not root."""


def storage_class() -> Object:
    """The cluster's default class. Several pods may write: all are on one node."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
    }


class Provisioner:
    """Looks at claims and volumes twice a second; what it does depends on what is there alone."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self.folder = folder
        self._claims = api.resource("v1", kind="PersistentVolumeClaim")
        self._volumes = api.resource("v1", kind="PersistentVolume")
        self._stop = threading.Event()

    @classmethod
    @contextmanager
    def running(cls, cluster: Cluster, folder: Path) -> Iterator[Provisioner]:
        """Make and remove volumes until the block is left."""
        cluster.apply(storage_class())
        folder.mkdir(parents=True, exist_ok=True)
        provisioner = cls(cluster.api, folder)
        thread = threading.Thread(target=provisioner._run, name="provisioner", daemon=True)
        thread.start()
        try:
            yield provisioner
        finally:
            provisioner._stop.set()
            thread.join()

    def path(self, claim: Object) -> Path:
        """The folder of a claim's volume."""
        return self.folder / f"pvc-{claim['metadata']['uid']}"

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            try:
                self.step()
            # the API server restarts, is busy, or the object changed meanwhile
            except (ApiError, httpx2.HTTPError, OSError) as error:
                print(f"provisioner: {error}", flush=True)

    def step(self) -> None:
        """One look at everything."""
        volumes = {it["metadata"]["name"] for it in self._ours(self._volumes)}
        for claim in self._ours(self._claims):
            if self.path(claim).name not in volumes and not claim["spec"].get("volumeName"):
                self._provide(claim)
            self._expand(claim)
        for volume in self._ours(self._volumes):
            if volume["status"].get("phase") == "Released":
                self._remove(volume)

    def _ours(self, resource: Resource) -> list[Object]:
        items, _ = self._api.list(resource)
        return [it for it in items if it["spec"].get("storageClassName") == CLASS]

    def _provide(self, claim: Object) -> None:
        path = self.path(claim)
        path.mkdir(exist_ok=True)
        path.chmod(MODE)
        self._api.create(self._volumes, build_volume(claim, path))

    def _expand(self, claim: Object) -> None:
        """A folder has all the space there is, so growing it is a word in two places."""
        asked, has = claim["spec"]["resources"]["requests"]["storage"], claim.get("status", {}).get("capacity")
        if not has or has["storage"] == asked:
            return
        capacity = {"capacity": {"storage": asked}}
        name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
        self._api.patch(self._volumes, claim["spec"]["volumeName"], None, {"spec": capacity})
        self._api.patch(self._claims, name, namespace, {"status": capacity}, subresource="status")

    def _remove(self, volume: Object) -> None:
        shutil.rmtree(self.folder / volume["metadata"]["name"], ignore_errors=True)
        self._api.delete(self._volumes, volume["metadata"]["name"])


def build_volume(claim: Object, path: Path) -> Object:
    """A volume that only this claim can take."""
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": path.name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": claim["spec"]["resources"]["requests"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
            "volumeMode": claim["spec"].get("volumeMode", "Filesystem"),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "hostPath": {"path": str(path), "type": "Directory"},
        },
    }
