"""A host that serves many registries: it is told which one is meant, and must say that it took notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sampan.errors import HostError, Missing, ServerFault
from sampan.oci.digest import Digest
from sampan.testing import FakeRegistry, Fault, Match, image, random_layer
from sampan.testing.wire import Reply, Request, json_reply
from sampan.upstream.answers import error_of
from sampan.upstream.host import Host
from upstreams import ALPINE, client_for, said

SMALL = image(ALPINE, "3", layers=[random_layer(seed=1, size_bytes=1000)])
DIGEST = Digest.parse(SMALL.digest)
LAYER = SMALL.layers[0]


def answers_for(namespace: str, **headers: str) -> Fault:
    """The right answer, with the registry that it is for."""
    more = (("OCI-Namespace", namespace), *((name.replace("_", "-"), text) for name, text in headers.items()))

    def change(_: Request, right: Reply) -> Reply:
        return replace(right, headers=(*right.headers, *more))

    return Fault("answers for", change)


def of(registry: FakeRegistry, namespace: str = "harbor.lan:8443") -> Host:
    return Host.from_url(registry.url, namespace=namespace)


async def test_every_question_names_the_registry_once() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        for number in range(3):
            registry.add(image(ALPINE, f"tag{number}"))
        registry.script(answers_for("harbor.lan:8443"))
        host = of(registry)
        async with client_for(host) as client:
            await client.manifest(host, ALPINE, "3")
            await client.head_manifest(host, ALPINE, DIGEST)
            await client.stat_blob(host, ALPINE, Digest.parse(LAYER.digest))
            async with client.blob(host, ALPINE, Digest.parse(LAYER.digest), size=LAYER.size) as stream:
                assert b"".join([piece async for piece in stream]) == LAYER.read()
            await client.referrers(host, ALPINE, DIGEST, artifact_type="application/vnd.example.x")
        assert len(registry.requests) == 5
        assert {request.query_values("ns") for request in registry.requests} == {("harbor.lan:8443",)}


async def test_a_link_to_the_next_page_that_names_it_is_followed_as_it_is() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        link = f'</v2/{ALPINE}/tags/list?last=3&ns=quay.io>; rel="next"'
        registry.script(answers_for("quay.io", Link=link), on=Match(kind="tags"), times=1)
        registry.script(answers_for("quay.io"))
        host = of(registry, "quay.io")
        async with client_for(host) as client:
            assert await client.tags(host, ALPINE) == ["3"]
        assert [request.query_values("ns") for request in registry.requests] == [("quay.io",), ("quay.io",)]


@pytest.mark.parametrize("namespace", [None, "docker.io"])
async def test_an_answer_that_may_be_another_registrys_is_none(namespace: str | None) -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        if namespace is not None:
            registry.script(answers_for(namespace))
        host = of(registry, "quay.io")
        async with client_for(host) as client:
            for ask in (client.manifest(host, ALPINE, "3"), client.tags(host, ALPINE)):
                with pytest.raises(HostError, match=r"does not say that it answers for quay\.io") as caught:
                    await ask
                assert said(caught.value) == "NotARegistry protocol"


async def test_a_denial_needs_no_proof() -> None:
    async with FakeRegistry() as registry:
        host = of(registry)
        async with client_for(host) as client:
            with pytest.raises(Missing):
                await client.manifest(host, ALPINE, "3")


async def test_what_a_mirror_says_of_its_source_is_remembered_by_digest() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        stale = {"X_Sampan_Source": "one.example", "Warning": '110 sampan "Response is Stale"'}
        registry.script(answers_for("quay.io", **stale), on=Match(kind="manifest"))
        registry.script(answers_for("quay.io", X_Sampan_Source="a\x7fb"), on=Match(kind="blob"))
        host = of(registry, "quay.io")
        async with client_for(host) as client:
            await client.manifest(host, ALPINE, "3")
            told = client.behind.of(host.name, DIGEST)
            assert told is not None
            assert (told.source, told.stale) == ("one.example", True)
            digest = Digest.parse(LAYER.digest)
            async with client.blob(host, ALPINE, digest, size=LAYER.size) as stream:
                assert b"".join([piece async for piece in stream])
            told = client.behind.of(host.name, digest)
            assert told is not None
            assert (told.source, told.stale) == ("a\N{REPLACEMENT CHARACTER}b", False)
            assert client.behind.of("another", digest) is None


def test_what_the_hosts_behind_a_mirror_answered_is_the_reason_that_is_told() -> None:
    attempts = [
        {"host": "one.example", "outcome": "refused", "status": None, "seconds": 0.1},
        {"host": "two.example", "outcome": "server-error", "status": 500, "seconds": 0.1},
    ]
    body = json_reply(
        503, {"errors": [{"code": "UNAVAILABLE", "message": "x", "detail": {"attempts": attempts}}]}
    )
    error = error_of(503, body.body.read(), who="mirror")
    assert isinstance(error, ServerFault)
    assert error.message == "mirror: 503: one.example: refused; two.example: server-error (500)"


@pytest.mark.parametrize("attempts", [[], None, "x", [1], [{"host": "a"}], {"host": "a"}])
def test_attempts_that_are_none_leave_the_message(attempts: object) -> None:
    body = json_reply(503, {"errors": [{"code": "NO", "message": "x", "detail": {"attempts": attempts}}]})
    assert error_of(503, body.body.read(), who="mirror").message == "mirror: 503: NO: x"
