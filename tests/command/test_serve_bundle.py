"""``sampan serve --bundle`` as a process: what a client gets of it, and what it never does."""

from __future__ import annotations

import gzip
import http.client
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bundling import BundleMachine
from carrying import Bundled, layout_tar
from sampan.bundle.keys import make_keys
from sampan.testing import FakeRegistry, ServerThread, artifact, image, index, random_layer
from sampan.testing.images import Content, Image
from serving.process import serve, write

MIB = 1024 * 1024
ALPINE, PAUSE = "docker.io/library/alpine:3", "registry.k8s.io/pause:3.10"


class Answer:
    def __init__(self, url: str, path: str, **headers: str) -> None:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            self.status, self.headers = response.status, dict(response.getheaders())
            try:
                self.body, self.is_whole = response.read(), True
            except http.client.IncompleteRead as error:
                self.body, self.is_whole = error.partial, False
        finally:
            connection.close()


def images() -> dict[str, Image]:
    return {
        ALPINE: image("library/alpine", "3", layers=[random_layer(1, 3 * MIB), random_layer(2, 9000)]),
        PAUSE: index("pause", "3.10"),
    }


def bundle(directory: Path, made: dict[str, Image]) -> Path:
    path = directory / "images.tar"
    path.write_bytes(Bundled(made).volumes()[0])
    return path


def blob(url: str, content: Content, **headers: str) -> Answer:
    return Answer(url, f"/v2/library/alpine/blobs/{content.digest}?ns=docker.io", **headers)


def test_a_bundle_is_served_by_the_names_of_its_images_without_a_configuration(tmp_path: Path) -> None:
    made = images()
    with serve(tmp_path, "--bundle", str(bundle(tmp_path, made))) as served:
        line = served.wait_for("serving at")
        url = line.partition("serving at ")[2].split()[0]
        assert "bundle images.tar" in line
        found = Answer(url, "/v2/library/alpine/manifests/3?ns=docker.io")
        assert (found.status, found.body) == (200, made[ALPINE].raw)
        assert found.headers["Docker-Content-Digest"] == made[ALPINE].digest
        assert found.headers["X-Sampan-Source"] == "bundle images.tar"
        assert found.headers["Warning"].startswith("110")
        assert int(found.headers["Age"]) > 24 * 3600
        for content in made[ALPINE].blobs:
            assert blob(url, content).body == content.read()
        part = blob(url, made[ALPINE].layers[0], Range="bytes=1000-1999")
        assert (part.status, part.body) == (206, made[ALPINE].layers[0].read()[1000:2000])
        assert Answer(url, "/v2/pause/manifests/3.10?ns=registry.k8s.io").body == made[PAUSE].raw
        assert Answer(url, "/v2/registry.k8s.io/pause/manifests/3.10").body == made[PAUSE].raw
        child = made[PAUSE].images[1]
        assert Answer(url, f"/v2/pause/manifests/{child.digest}?ns=registry.k8s.io").body == child.raw
        assert b'"3"' in Answer(url, "/v2/library/alpine/tags/list").body
        assert served.status(url, "/readyz") == 200
        assert served.status(url, "/metrics") == 200
        assert served.end(signal.SIGTERM) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["images.tar"]


def test_what_is_not_in_it_is_not_found_at_once(tmp_path: Path) -> None:
    with serve(tmp_path, "--bundle", str(bundle(tmp_path, images()))) as served:
        url = served.url()
        assert Answer(url, "/v2/library/alpine/manifests/4").status == 404
        assert Answer(url, "/v2/library/nginx/manifests/latest").status == 404
        assert Answer(url, f"/v2/library/alpine/blobs/sha256:{'0' * 64}").status == 404
        unknown = Answer(url, "/v2/owner/app/manifests/1?ns=ghcr.io")
        assert unknown.status == 404
        assert b"NAME_UNKNOWN" in unknown.body
        assert Answer(url, f"/v2/library/alpine/referrers/sha256:{'0' * 64}").status == 200


def test_what_is_attached_is_listed(tmp_path: Path) -> None:
    made = image("library/alpine", "3")
    name = f"docker.io/library/alpine:{made.digest.replace(':', '-')}.sig"
    signature = artifact(made, "application/vnd.example.signature")
    path = tmp_path / "images.tar"
    path.write_bytes(Bundled({ALPINE: made, name: signature}, attached={name: ALPINE}).volumes()[0])
    with serve(tmp_path, "--bundle", str(path)) as served:
        listed = Answer(served.url(), f"/v2/library/alpine/referrers/{made.digest}")
    assert signature.digest.encode() in listed.body
    assert b"application/vnd.example.signature" in listed.body


def test_a_blob_that_was_damaged_on_its_way_is_never_completed(tmp_path: Path) -> None:
    made = images()
    path, layer = bundle(tmp_path, made), made[ALPINE].layers[0]
    raw = path.read_bytes()
    at = raw.index(layer.read()) + 2 * MIB
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    with serve(tmp_path, "--bundle", str(path)) as served:
        url = served.url()
        for _ in range(2):
            found = blob(url, layer)
            assert found.status == 502
            assert layer.read()[:1000] not in found.body
        assert "images.tar is damaged" in served.wait_for("is damaged")
        assert blob(url, made[ALPINE].layers[1]).body == made[ALPINE].layers[1].read()


def test_a_blob_that_is_split_over_volumes_is_served_as_one(tmp_path: Path) -> None:
    made = images()
    split = lambda c: [(1, MIB), (2, MIB), (3, c.size - 2 * MIB)] if c.size > MIB else [(1, c.size)]  # noqa: E731
    words = []
    for number, raw in enumerate(Bundled(made, where=split).volumes(), start=1):
        (tmp_path / f"images.{number}.tar").write_bytes(raw)
        words += ["--bundle", str(tmp_path / f"images.{number}.tar")]
    layer = made[ALPINE].layers[0]
    with serve(tmp_path, *words) as served:
        url = served.url()
        assert blob(url, layer).body == layer.read()
        edge = blob(url, layer, Range=f"bytes={MIB - 10}-{2 * MIB + 9}")
        assert edge.body == layer.read()[MIB - 10 : 2 * MIB + 10]
    with serve(tmp_path, *words[:2]) as served:
        assert "name all volumes" in served.wait_for("hint")
        assert served.process.wait(20) == 8


def test_archives_of_other_programs_are_served_and_packed_ones_are_not(tmp_path: Path) -> None:
    made = {ALPINE: image("library/alpine", "3")}
    (tmp_path / "plain.tar").write_bytes(layout_tar(made))
    (tmp_path / "packed.tar.gz").write_bytes(gzip.compress(layout_tar(made)))
    with serve(tmp_path, "--bundle", "plain.tar") as served:
        found = Answer(served.url(), "/v2/library/alpine/manifests/3")
        assert found.body == made[ALPINE].raw
        assert int(found.headers["Age"]) < 3600  # since the file was written
    with serve(tmp_path, "--bundle", "packed.tar.gz") as served:
        assert "sampan bundle load" in served.wait_for("hint")
        assert served.process.wait(20) == 8


def test_hosts_stand_above_the_bundle_while_they_answer(tmp_path: Path) -> None:
    made, newer = images(), image("library/alpine", "3", seed=99)
    path, registry = bundle(tmp_path, made), FakeRegistry("hub")
    with ServerThread(registry):
        registry.add(newer)
        host = f'mirrors = ["{registry.url}"]\norigin = "never"\n'
        write(tmp_path, f'[tags]\nfresh_for = "0s"\n[registry."docker.io"]\n{host}')
        with serve(tmp_path, "--bundle", str(path)) as served:
            url = served.url()
            assert Answer(url, "/v2/library/alpine/manifests/3").body == newer.raw
            assert Answer(url, "/v2/registry.k8s.io/pause/manifests/3.10").body == made[PAUSE].raw
            assert blob(url, newer.layers[0]).body == newer.layers[0].read()
            assert blob(url, made[ALPINE].layers[0]).body == made[ALPINE].layers[0].read()


@pytest.mark.parametrize(
    "host", ['mirrors = ["http://127.0.0.1:1"]\norigin = "never"\n', 'origin = "never"\n']
)
def test_the_bundle_answers_where_no_host_does(tmp_path: Path, host: str) -> None:
    made = images()
    path = bundle(tmp_path, made)
    write(tmp_path, f'[tags]\nfresh_for = "0s"\n[registry."docker.io"]\n{host}')
    with serve(tmp_path, "--bundle", str(path)) as served:
        url = served.url()
        found = Answer(url, "/v2/library/alpine/manifests/3")
        assert found.body == made[ALPINE].raw
        assert found.headers["Warning"].startswith("110")
        assert blob(url, made[ALPINE].layers[0]).body == made[ALPINE].layers[0].read()
        served.process.send_signal(signal.SIGHUP)
        served.wait_for("configuration loaded")
        assert Answer(url, "/v2/library/alpine/manifests/3").body == made[ALPINE].raw


def test_what_was_loaded_into_the_store_is_served_where_no_host_answers(tmp_path: Path) -> None:
    made = images()
    path = bundle(tmp_path, made)
    machine = BundleMachine(tmp_path, "http://127.0.0.1:1", '[tags]\nfresh_for = "0s"\n')
    assert machine.bundle("load", "--to", "store", str(path)).returncode == 0
    path.unlink()
    with serve(tmp_path) as served:
        url = served.url()
        found = Answer(url, "/v2/library/alpine/manifests/3")
        assert found.body == made[ALPINE].raw
        assert found.headers["Warning"].startswith("110")
        for content in made[ALPINE].blobs:
            assert blob(url, content).body == content.read()


def test_a_running_mirror_sees_what_is_loaded_beside_it(tmp_path: Path) -> None:
    made = images()
    machine = BundleMachine(tmp_path, "http://127.0.0.1:1")
    with serve(tmp_path) as served:
        url = served.url()
        assert Answer(url, "/v2/library/alpine/manifests/3").status != 200
        assert machine.bundle("load", "--to", "store", str(bundle(tmp_path, made))).returncode == 0
        assert Answer(url, "/v2/library/alpine/manifests/3").body == made[ALPINE].raw
        assert blob(url, made[ALPINE].layers[0]).body == made[ALPINE].layers[0].read()


def test_a_bundle_that_a_trusted_key_has_not_signed_is_not_served(tmp_path: Path) -> None:
    make_keys(tmp_path / "key")
    path = bundle(tmp_path, images())
    with serve(tmp_path, "--bundle", str(path), "--key", "key.pub") as served:
        assert "images.tar: the bundle is not signed" in served.wait_for("error: ")
        assert served.process.wait(20) == 8
