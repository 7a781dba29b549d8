"""The files of ssh and sshd for one group: one pair of keys, strict checks on both sides, no root.

All pods mount the same Secret. Its key proves both ends: the leader logs in with it, and a worker's sshd shows it as
its host key, so known_hosts names every worker of the group with the one public key. Files are written to a private
folder, because ssh refuses keys that a group may read, and a Secret's files are the group's.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.contracts.runtime import SSH_FOLDER, SSH_KEY
from inference_runtime.failure import EXIT_CONFIGURATION, Failure
from inference_runtime.group import Group

FOLDER = Path("/tmp/inference-ssh")
SSHD = "/usr/sbin/sshd"


@dataclass(frozen=True)
class SshFiles:
    """What ssh and sshd read; all in one folder that only this user may open."""

    folder: Path = FOLDER

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def client(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def server(self) -> Path:
        return self.folder / "sshd_config"


def write_key(files: SshFiles, mounted: Path = Path(SSH_FOLDER) / SSH_KEY) -> str:
    """Copy the mounted key and return the public half."""
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        content = mounted.read_bytes()
    except OSError as error:
        raise Failure(f"ssh: the key {mounted} cannot be read ({error.strerror})", EXIT_CONFIGURATION) from None
    files.key.unlink(missing_ok=True)
    files.key.touch(mode=0o600)
    files.key.write_bytes(content.rstrip() + b"\n")  # a Secret may have lost the last line's end, which ssh wants
    return _public(files.key, mounted)


def _public(key: Path, mounted: Path) -> str:
    try:
        made = subprocess.run(
            ["ssh-keygen", "-y", "-P", "", "-f", key], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise Failure("ssh: ssh-keygen is not in this image", EXIT_CONFIGURATION) from None
    if made.returncode:
        raise Failure(
            f"ssh: {mounted} is no private key without a passphrase ({made.stderr.strip()})", EXIT_CONFIGURATION
        )
    return " ".join(made.stdout.split()[:2])


def write_client(files: SshFiles, group: Group, public: str) -> None:
    known = files.folder / "known_hosts"
    known.write_text("".join(f"[{name}]:{group.ssh_port} {public}\n" for name in group.workers))
    _write(
        files.client,
        f"""
        Port {group.ssh_port}
        User {_user()}
        IdentityFile {files.key}
        IdentitiesOnly yes
        StrictHostKeyChecking yes
        UserKnownHostsFile {known}
        GlobalKnownHostsFile /dev/null
        UpdateHostKeys no
        BatchMode yes
        ConnectTimeout 10
        ServerAliveInterval 15
        ServerAliveCountMax 4
        LogLevel ERROR
        """,
    )


def write_server(files: SshFiles, group: Group, public: str, session: Path) -> None:
    allowed = files.folder / "authorized_keys"
    allowed.write_text(f"{public}\n")
    _write(
        files.server,
        f"""
        Port {group.ssh_port}
        HostKey {files.key}
        AuthorizedKeysFile {allowed}
        AllowUsers {_user()}
        PubkeyAuthentication yes
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        UsePAM no
        # the folder lies under /tmp, which everybody may write to; the folder itself is ours alone
        StrictModes no
        PidFile none
        AllowTcpForwarding no
        AllowAgentForwarding no
        X11Forwarding no
        PermitTunnel no
        PermitTTY no
        PermitUserRC no
        PrintMotd no
        ClientAliveInterval 15
        ClientAliveCountMax 4
        ForceCommand {session}
        """,
    )


def _write(path: Path, text: str) -> None:
    path.write_text("".join(f"{line.strip()}\n" for line in text.strip().splitlines()))


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        message = f"ssh: uid {os.getuid()} has no entry in /etc/passwd, without which ssh refuses to work"
        raise Failure(message, EXIT_CONFIGURATION) from None
