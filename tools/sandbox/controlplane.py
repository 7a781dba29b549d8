"""How each program of the control plane is started: command lines only."""

from __future__ import annotations

import csv
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox import certs
from tools.sandbox.audit import write_policy
from tools.sandbox.binaries import Binaries
from tools.sandbox.kubeconfig import Access, write_kubeconfig
from tools.sandbox.process import free_port

# Every program has a user of its own, for the audit log. All are admins: RBAC is tested with service accounts.
USERS = ("admin", "kube-controller-manager", "kube-scheduler", "kwok", "lws", "metacontroller")
USERNAMES = {"metacontroller": "system:serviceaccount:metacontroller:metacontroller"}
"""Under the name of its account in deploy/, so that the policies there hold it."""
POD_CIDR = "10.128.0.0/9"  # pods get addresses from KWOK; nobody routes them


@dataclass(frozen=True)
class Network:
    """Where the API server listens, and the Services' addresses. On loopback it is hidden from pods."""

    address: str = "127.0.0.1"
    services: str = "10.0.0.0/16"

    @property
    def first_service(self) -> str:
        """The address of Service `kubernetes`."""
        return str(ipaddress.ip_network(self.services)[1])

    @property
    def has_pods(self) -> bool:
        """Whether pods can come to this address, so that the API server puts it behind its Service."""
        return not ipaddress.ip_address(self.address).is_loopback


LOOPBACK = Network()


@dataclass(frozen=True)
class Plan:
    """Ports, secrets and files of one control plane, chosen before anything starts."""

    directory: Path
    binaries: Binaries
    audit: bool
    network: Network
    etcd_port: int
    peer_port: int
    api_port: int
    serving: certs.KeyPair
    signing_key: Path
    tokens: dict[str, str]

    @classmethod
    def prepare(cls, directory: Path, binaries: Binaries, audit: bool, network: Network = LOOPBACK) -> Plan:
        directory.mkdir(parents=True, exist_ok=True)
        plan = cls(
            directory=directory,
            binaries=binaries,
            audit=audit,
            network=network,
            etcd_port=free_port(),
            peer_port=free_port(),
            api_port=free_port(),
            serving=certs.write_key_pair(
                directory / "certs", "kube-apiserver", [network.address, network.first_service]
            ),
            signing_key=certs.write_signing_key(directory / "service-accounts.key"),
            tokens={user: secrets.token_hex(16) for user in USERS},
        )
        plan._write_tokens()
        for user in USERS:
            write_kubeconfig(plan.kubeconfig(user), plan.access(user), user)
        return plan

    def _write_tokens(self) -> None:
        with (self.directory / "tokens.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [token, USERNAMES.get(user, user), user, "system:masters"] for user, token in self.tokens.items()
            )

    @property
    def server(self) -> str:
        return f"https://{self.network.address}:{self.api_port}"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    def access(self, user: str) -> Access:
        return Access(self.server, self.tokens[user], self.serving.certificate.read_text())

    def kubeconfig(self, user: str) -> Path:
        return self.directory / ("kubeconfig" if user == "admin" else f"{user}.kubeconfig")

    def etcd(self) -> list[str]:
        """Without fsync: the data is worth nothing after this process."""
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        return [
            str(self.binaries["etcd"]),
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def kube_apiserver(self) -> list[str]:
        return [
            str(self.binaries["kube-apiserver"]),
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--bind-address={self.network.address}",
            f"--advertise-address={self.network.address}",
            f"--secure-port={self.api_port}",
            f"--tls-cert-file={self.serving.certificate}",
            f"--tls-private-key-file={self.serving.key}",
            f"--cert-dir={self.directory / 'certs'}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.signing_key}",
            f"--service-account-signing-key-file={self.signing_key}",
            f"--service-cluster-ip-range={self.network.services}",
            "--allow-privileged=true",
            "--enable-priority-and-fairness=false",
            "--max-requests-inflight=2000",
            "--max-mutating-requests-inflight=1000",
            "--profiling=false",
            f"--endpoint-reconciler-type={'lease' if self.network.has_pods else 'none'}",
            "--kubelet-preferred-address-types=InternalIP",
            *self._audit_flags(),
        ]

    def _audit_flags(self) -> list[str]:
        if not self.audit:
            return []
        policy = write_policy(self.directory / "audit-policy.json")
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-mode=blocking"]

    def kube_controller_manager(self) -> list[str]:
        """Attaching volumes is left out: no kubelet would ever report a volume attached."""
        return [
            str(self.binaries["kube-controller-manager"]),
            f"--kubeconfig={self.kubeconfig('kube-controller-manager')}",
            f"--service-account-private-key-file={self.signing_key}",
            f"--root-ca-file={self.serving.certificate}",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={self.directory / 'certs'}",
            "--leader-elect=false",
            "--controllers=*,-bootstrap-signer-controller,-token-cleaner-controller,"
            "-persistentvolume-attach-detach-controller",
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
            "--concurrent-deployment-syncs=20",
            "--pvclaimbinder-sync-period=2s",
        ]

    def kube_scheduler(self) -> list[str]:
        return [
            str(self.binaries["kube-scheduler"]),
            f"--kubeconfig={self.kubeconfig('kube-scheduler')}",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={self.directory / 'certs'}",
            "--leader-elect=false",
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
        ]

    def kwok(self, stages: list[Path]) -> list[str]:
        return [
            str(self.binaries["kwok"]),
            f"--kubeconfig={self.kubeconfig('kwok')}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40",
            f"--cidr={POD_CIDR}",
            f"--server-address=127.0.0.1:{free_port()}",
            *(f"--config={stage}" for stage in stages),
        ]
