"""A thin, typed client of the Kubernetes API: plain JSON objects in and out.

The sandbox and the Metacontroller stand-in need exact control of verbs, subresources and watches, and none of the
models. Objects are what `json.loads` gives, so that nothing is dropped or defaulted on the way.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tools.sandbox.kubeconfig import Access, read_kubeconfig

Object = dict[str, Any]

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
FIELD_MANAGER = "sandbox"


class ApiError(Exception):
    """An answer other than 2xx, with the API's own reason (`AlreadyExists`, `Conflict`, ...) and message, and of an
    object that is refused each cause (`field`, `message`)."""

    def __init__(self, code: int, reason: str, message: str, causes: Sequence[Object] = ()) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message, self.causes = code, reason, message, causes


class UnknownResourceError(Exception):
    """The API server does not serve this kind: its CRD is missing, or not established yet."""


@dataclass(frozen=True)
class Resource:
    """One served resource, as discovery describes it."""

    api_version: str
    plural: str
    kind: str
    namespaced: bool
    subresources: frozenset[str] = frozenset()

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        root = "/apis" if "/" in self.api_version else "/api"
        place = ["namespaces", namespace] if self.namespaced and namespace else []
        parts = [root, self.api_version, *place, self.plural, name, subresource]
        return "/".join(part for part in parts if part)


def _error(response: httpx2.Response) -> ApiError:
    try:
        status: Object = response.json()
    except ValueError:
        status = {}
    reason, message = str(status.get("reason") or response.reason_phrase), str(status.get("message") or response.text)
    return ApiError(response.status_code, reason, message, (status.get("details") or {}).get("causes") or ())


def _parse_resources(api_version: str, listed: list[Object]) -> list[Resource]:
    """Subresources are listed beside their resources, as `name/subresource`."""
    below = [item["name"].split("/", 1) for item in listed if "/" in item["name"]]
    return [
        Resource(
            api_version,
            item["name"],
            item["kind"],
            item["namespaced"],
            frozenset(subresource for name, subresource in below if name == item["name"]),
        )
        for item in listed
        if "/" not in item["name"]
    ]


class Api:
    """Requests to one API server as one user. Safe to use from several threads."""

    def __init__(self, access: Access, user_agent: str = "sandbox", impersonate: str = "") -> None:
        """`impersonate`: the user whose rights count instead of the access's own."""
        acting = {"Impersonate-User": impersonate} if impersonate else {}
        self._http = httpx2.Client(
            base_url=access.server,
            headers={"Authorization": f"Bearer {access.token}", "User-Agent": user_agent} | acting,
            verify=access.ssl_context(),
            timeout=httpx2.Timeout(30.0),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=False,
        )
        self._lock = threading.Lock()
        self._served: dict[str, list[Resource]] = {}

    @classmethod
    def from_kubeconfig(cls, path: Path, user_agent: str = "sandbox") -> Api:
        return cls(read_kubeconfig(path), user_agent)

    def close(self) -> None:
        self._http.close()

    # Discovery

    def resource(self, api_version: str, *, kind: str | None = None, plural: str | None = None) -> Resource:
        """Find a resource by its kind or its plural name; asks the server again before giving up."""
        for fresh in (False, True):
            for resource in self._resources(api_version, fresh):
                if resource.kind == kind or resource.plural == plural:
                    return resource
        raise UnknownResourceError(f"the API server serves no {kind or plural} in {api_version}")

    def find_resource(self, word: str) -> Resource:
        """A resource by its kind or plural in any case, of whichever group serves it first."""
        groups = self.request("GET", "/apis")["groups"]
        for api_version in ("v1", *(group["preferredVersion"]["groupVersion"] for group in groups)):
            for resource in self._resources(api_version, fresh=False):
                if word.lower() in (resource.kind.lower(), resource.plural):
                    return resource
        raise UnknownResourceError(f"the API server serves no {word}")

    def forget_discovery(self) -> None:
        """Ask the server anew next time: kinds may have come or gone."""
        with self._lock:
            self._served.clear()

    def _resources(self, api_version: str, fresh: bool) -> list[Resource]:
        with self._lock:
            known = self._served.get(api_version)
        if known is not None and not fresh:
            return known
        try:
            listed = self.request("GET", ("/apis/" if "/" in api_version else "/api/") + api_version)
        except ApiError as error:
            if error.code != 404:
                raise
            listed = {"resources": []}
        served = _parse_resources(api_version, listed["resources"])
        with self._lock:
            self._served[api_version] = served
        return served

    # Verbs

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One call; raises ApiError unless it succeeds."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        response = self._http.request(method, path, content=content, params=params, headers=headers)
        if not response.is_success:
            raise _error(response)
        answer: Object = response.json()
        return answer

    def ready(self) -> bool:
        try:
            return self._http.get("/readyz", timeout=2).text == "ok"
        except httpx2.HTTPError:
            return False

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        try:
            return self.request("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, resource: Resource, namespace: str | None = None, **params: str) -> tuple[list[Object], str]:
        """The objects, each with its apiVersion and kind, and the list's resourceVersion."""
        answer = self.request("GET", resource.path(namespace), params=params)
        named = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [{**named, **item} for item in answer["items"]], str(answer["metadata"]["resourceVersion"])

    def create(self, resource: Resource, body: Object) -> Object:
        return self.request("POST", resource.path(body["metadata"].get("namespace")), body=body)

    def replace(self, resource: Resource, body: Object, subresource: str | None = None) -> Object:
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        return self.request("PUT", path, body=body)

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        body: object,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str | None = None,
    ) -> Object:
        path = resource.path(namespace, name, subresource)
        params = {"fieldManager": FIELD_MANAGER}
        if content_type == APPLY_PATCH:
            params["force"] = "true"
        return self.request("PATCH", path, body=body, params=params, content_type=content_type)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete an object (only the one with `uid`, when given); one that is gone already is fine."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self.request("DELETE", resource.path(namespace, name), body=options)
        except ApiError as error:
            if error.code != 404:
                raise

    def watch(self, resource: Resource, resource_version: str, seconds: int = 300) -> Iterator[tuple[str, Object]]:
        """Changes after `resource_version` in all namespaces; ends after `seconds` or when the server hangs up."""
        params = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        timeout = httpx2.Timeout(30.0, read=seconds + 30.0)
        with self._http.stream("GET", resource.path(), params=params, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                raise _error(response)
            for line in response.iter_lines():
                event: Object = json.loads(line)
                if event["type"] == "ERROR":
                    status: Object = event["object"]
                    raise ApiError(int(status.get("code", 500)), str(status.get("reason")), str(status.get("message")))
                yield str(event["type"]), event["object"]


def read_objects(path: Path) -> list[Object]:
    """All objects of a YAML file, or of a folder's YAML files in name order (kustomization.yaml left out)."""
    if path.is_dir():
        files = sorted(file for file in path.glob("*.yaml") if file.name != "kustomization.yaml")
        return [item for file in files for item in read_objects(file)]
    return [document for document in yaml.safe_load_all(path.read_text()) if document]
