"""Archives from web servers: unpacked when asked for, and never what leads elsewhere."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.downloader.conftest import download, files_of
from tests.downloader.models import model
from tests.downloader.webs import FOLDER, Web, host, refused, source


def tar(members: dict[str, bytes], change: Callable[[tarfile.TarFile], None] | None = None) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if change:
            change(archive)
    return made.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize("name", ["m.tar.gz", "m.tgz", "m.tar", "m.zip", "m.tar.xz"])
def test_an_archive_is_refused_unless_asked_for(web: Web, volume: Path, name: str) -> None:
    failure = refused(volume, source(web, name))
    assert (failure.error.reason, failure.error.error_class) == ("ArchiveRefused", "Configuration")
    assert web[1].asked == [], "the name alone tells"


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("folder", ["", "tiny/", "./tiny/"])
def test_an_archive_is_unpacked_when_asked_for(
    web: Web, volume: Path, make: Callable[[dict[str, bytes]], bytes], folder: str
) -> None:
    name = "m.zip" if make is zipped else "m.tar.gz"
    host(web, **{name: make({f"{folder}{name}": content for name, content in model().items()})})
    report = download(volume, "http", source(web, name, extract=True))
    assert files_of(volume / FOLDER) == model()
    assert report.parameters == 100_000
    assert list((volume / ".staging").glob("*")) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil"])
@pytest.mark.parametrize("make", [tar, zipped])
def test_an_archive_with_names_that_lead_elsewhere_is_refused(
    web: Web, volume: Path, make: Callable[[dict[str, bytes]], bytes], name: str
) -> None:
    archive = "m.zip" if make is zipped else "m.tar.gz"
    host(web, **{archive: make({**model(), name: b"evil"})})
    assert refused(volume, source(web, archive, extract=True)).error.reason == "UnsafeName"
    assert [path for path in volume.parent.rglob("evil*") if path.is_file()] == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_an_archive_are_refused(web: Web, volume: Path, kind: bytes) -> None:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)

    host(web, **{"m.tar.gz": tar(model(), add)})
    failure = refused(volume, source(web, "m.tar.gz", extract=True))
    assert (failure.error.reason, failure.error.error_class) == ("BadArchive", "Permanent")


def test_a_symlink_in_a_zip_is_refused(web: Web, volume: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    host(web, **{"m.zip": made.getvalue()})
    assert refused(volume, source(web, "m.zip", extract=True)).error.reason == "BadArchive"


@pytest.mark.parametrize("make", [tar, zipped])
def test_an_archive_without_files_is_no_model(
    web: Web, volume: Path, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    name = "m.zip" if make is zipped else "m.tar.gz"
    host(web, **{name: make({})})
    failure = refused(volume, source(web, name, extract=True))
    assert (failure.error.reason, failure.exit_code) == ("BadArchive", 42)


def test_an_archive_that_unpacks_to_more_than_the_limit_is_not_unpacked(web: Web, volume: Path) -> None:
    host(web, **{"m.tar.gz": tar({"w.bin": bytes(50 << 20)})})
    failure = refused(volume, source(web, "m.tar.gz", extract=True), volume_bytes=40 << 20)
    assert failure.error.reason == "VolumeTooSmall"
    assert not list(volume.rglob("w.bin"))


@pytest.mark.parametrize("content", [b"no archive", tar(model())[:-50_000]])
def test_a_damaged_archive_is_refused(web: Web, volume: Path, content: bytes) -> None:
    host(web, **{"m.tar.gz": content})
    assert refused(volume, source(web, "m.tar.gz", extract=True)).error.reason == "BadArchive"


def test_an_archive_that_announces_more_than_the_volume_holds_is_not_unpacked(web: Web, volume: Path) -> None:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("huge")
        info.size = 1 << 50
        archive.fileobj.write(info.tobuf())

    host(web, **{"m.tar.gz": tar(model(), add)})
    failure = refused(volume, source(web, "m.tar.gz", extract=True))
    assert failure.error.reason in ("VolumeTooSmall", "BadArchive")
    assert files_of(volume).keys().isdisjoint({"huge"})
