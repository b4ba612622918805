"""What is told of an error beside its entry: the request, the hop, the program, and what it does not show."""

from __future__ import annotations

import pytest

from explained import ORIGIN_STORY, explain, first
from sampan.doctor.explain.hop import Hosts
from sampan.doctor.explain.story import entry_words, remarks, said
from sampan.words import Language, in_language

LANGUAGES: tuple[Language, ...] = ("en", "zh")
DIGEST = "sha256:4fc1d548892b0a8c8020fa151a38283cd62b9f8bfb1101f70f951b8234fafdb0"
PULL = 'failed to pull and unpack image "docker.io/library/alpine:3": '


def told(text: str, language: Language = "en") -> list[str]:
    return [in_language(remark, language) for remark in remarks(first(text))]


def test_the_line_of_the_origin_story_is_told_whole() -> None:
    (one,) = explain(ORIGIN_STORY).explained
    assert (one.entry.code, one.count, one.role) == ("SERVER_ERROR", 2, "mirror")
    words = entry_words(one, "en")
    assert words.what == "atomhub.openatom.cn failed by itself: it answered 502 Bad Gateway"
    request, printer, hidden, same, key = told(ORIGIN_STORY)
    assert request == (
        "What failed: atomhub.openatom.cn (a mirror) was asked for the blob sha256:4fc1d548892b of"
        " docker.io/library/alpine."
    )
    assert printer == "Printed by crictl, in the words of containerd 2.0 or older."
    assert "the registry itself last, were asked too and failed unseen, or there were none" in hidden
    assert "crictl pull alpine:3 and crictl pull docker.io/alpine:3 are the same request" in same
    assert "it is atomhub.openatom.cn that wavers" in same
    assert 'as "docker.io/library", is never read' in key
    assert any("second host" in what for what in words.do)


def test_the_line_of_the_origin_story_is_told_whole_in_chinese() -> None:
    (one,) = explain(ORIGIN_STORY).explained
    assert entry_words(one, "zh").what == "atomhub.openatom.cn 自己出错了：它返回了 502 Bad Gateway"
    story = "\n".join(told(ORIGIN_STORY, "zh"))
    for part in (
        "为 docker.io/library/alpine 向 atomhub.openatom.cn（镜像站） 发出的请求：blob sha256:4fc1d548892b。",
        "打印者：crictl，原话来自 containerd 2.0 或更早。",
        "排在后面的（最后是仓库本身）也问过，同样失败了，只是没有显示；或者后面没有别的主机。",
        "crictl pull alpine:3 和 crictl pull docker.io/alpine:3 是同一个请求",
        "atomhub.openatom.cn 时好时坏",
        '"docker.io/library"，从来不会被读取',
    ):
        assert part in story


@pytest.mark.parametrize(
    ("url", "role", "step"),
    [
        ("https://mirror.example/v2/library/alpine/manifests/3?ns=docker.io", "mirror", "resolve"),
        (f"https://mirror.example/v2/library/alpine/manifests/{DIGEST}?ns=docker.io", "mirror", "manifest"),
        ("https://mirror.example/v2/library/alpine/manifests/3?ns=%5BREDACTED%5D", "mirror", "resolve"),
        (f"https://m.example/v2/docker.io/library/alpine/blobs/{DIGEST}", "mirror", "blob"),
        ("https://mirror.example/v2/library/alpine/manifests/3", "mirror", "resolve"),
        ("https://registry-1.docker.io/v2/library/alpine/manifests/3", "origin", "resolve"),
        ("https://registry-1.docker.io/v2/", "origin", "ping"),
        ("https://auth.docker.io/token?scope=repository%3Alibrary%2Falpine%3Apull", "login", "token"),
        ("https://mirror.example/token?service=x&scope=repository%3Ax%3Apull", "login", "token"),
        ("https://production.cloudflare.docker.com/registry-v2/docker/x/data?verify=1", "storage", None),
        ("https://image-mirror.oss-cn-shanghai.aliyuncs.com/x?Signature=abc", "storage", None),
        ("https://us-west2-docker.pkg.dev/v2/k8s/images/pause/manifests/3.9", "storage", "resolve"),
    ],
)
def test_the_hop_that_failed_is_told_from_its_url(url: str, role: str, step: str | None) -> None:
    one = first(f'{PULL}failed to do request: Get "{url}": dial tcp 203.0.113.7:443: i/o timeout')
    assert one.role == role
    assert one.facts.request is not None
    assert one.facts.request.step == step


def test_a_host_of_the_configuration_is_what_the_configuration_says() -> None:
    text = 'Get "http://127.0.0.1:5050/v2/": dial tcp 127.0.0.1:5050: connect: connection refused'
    assert explain(text).explained[0].role is None
    (one,) = explain(text, Hosts({"127.0.0.1:5050": "sampan"})).explained
    assert one.role == "sampan"
    assert "127.0.0.1:5050 (sampan on this machine)" in next(remarks(one))


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://registry-1.docker.io/v2/", "its /v2/, which says whether it is a registry, on the way to"),
        ("https://auth.docker.io/token?scope=x", "a token, on the way to"),
        ("https://registry-1.docker.io/v2/library/alpine/manifests/3", "what the tag 3 means of"),
    ],
)
def test_what_was_asked_for_is_told_with_the_image_that_it_was_for(url: str, asked: str) -> None:
    failed = f'{PULL}failed to do request: Get "{url}": dial tcp 203.0.113.7:443: i/o timeout'
    assert f"was asked for {asked} docker.io/library/alpine" in told(failed)[0]


def test_docker_shows_the_last_error_and_containerd_the_first() -> None:
    way = "dial tcp 1.2.3.4:443: i/o timeout"
    docker = f'Error response from daemon: Get "https://registry-1.docker.io/v2/": {way}'
    assert any("Docker shows the last host's error" in remark for remark in told(docker))
    head = 'failed to do request: Head "https://registry-1.docker.io/v2/library/alpine/manifests/3": '
    assert any(
        "no mirror was asked" in remark for remark in told(f"{PULL}{head}dial tcp 1.2.3.4:443: i/o timeout")
    )


def test_what_is_the_same_at_every_try_is_no_matter_of_library() -> None:
    head = (
        "unexpected status from HEAD request to https://m.example/v2/library/alpine/manifests/3?ns=docker.io:"
    )
    for status, wavers in (("403 Forbidden", False), ("503 Service Unavailable", True)):
        found = told(f"pulling image: {PULL}{head} {status}")
        assert any("wavers" in remark for remark in found) is wavers


def test_an_image_of_another_registry_is_no_matter_of_library() -> None:
    url = f"https://mirror.example/v2/owner/app/blobs/{DIGEST}?ns=ghcr.io"
    text = f"failed to copy: httpReadSeeker: failed open: unexpected status code {url}: 502 Bad Gateway"
    assert not any("wavers" in remark for remark in told(text))


def test_of_mirrors_in_brackets_each_is_told_and_the_registry_last() -> None:
    text = (
        "Error: initializing source docker://alpine:3: (Mirrors also failed: [a.example/library/alpine:3:"
        " reading manifest 3 in a.example/library/alpine: toomanyrequests]"
        " [[2001:db8::7]:5000/library/alpine:3: pinging"
        ' container registry [2001:db8::7]:5000: Get "https://[2001:db8::7]:5000/v2/": EOF]):'
        " docker.io/library/alpine:3: pinging container registry registry-1.docker.io: Get"
        ' "https://registry-1.docker.io/v2/": dial tcp 1.2.3.4:443: i/o timeout'
    )
    found = explain(text).explained
    assert [(one.entry.code, one.facts.host, one.role) for one in found] == [
        ("RATE_LIMITED", "a.example", "mirror"),
        ("CONNECTION_CUT", "[2001:db8::7]:5000", "mirror"),
        ("CONNECT_TIMEOUT", "registry-1.docker.io", "origin"),
        ("MIRRORS_ALSO_FAILED", "registry-1.docker.io", "origin"),
    ]
    assert found[0].facts.reference == "docker.io/library/alpine:3"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            'Jan 01 10:00:31 node-1 kubelet[901]: Back-off pulling image "alpine:3"',
            'Back-off pulling image "alpine:3"',
        ),
        ('level=error msg="toomanyrequests: x"', "toomanyrequests: x"),
        ('"toomanyrequests: x"', "toomanyrequests: x"),
        ('Get "https://m.example/v2/": EOF', 'Get "https://m.example/v2/": EOF'),
        (
            '"PullImage from image service failed" err="rpc error: code = X desc = toomanyrequests" id="x"',
            "toomanyrequests",
        ),
    ],
)
def test_an_error_is_shown_in_its_own_words_without_what_is_round_it(text: str, shown: str) -> None:
    assert said(first(text)) == shown


def test_what_signed_links_and_logins_hold_is_not_repeated() -> None:
    url = "https://robot:hunter2@cdn.example/x?X-Amz-Signature=5ecret&y=1"
    text = f'{PULL}failed to copy: httpReadSeeker: failed open: failed to do request: Get "{url}": EOF'
    one = first(text)
    everything = f"{said(one)} {list(remarks(one))} {entry_words(one, 'en')}"
    assert "hunter2" not in everything
    assert "5ecret" not in everything
    assert "cdn.example" in everything


def test_a_fact_that_is_not_there_has_a_word_in_its_place() -> None:
    one = first("toomanyrequests: Rate exceeded")
    assert entry_words(one, "en").what.startswith("The host has had enough")
    assert entry_words(one, "zh").what.startswith("那台主机")


@pytest.mark.parametrize(
    ("host", "pasted"),
    [
        ("m.example", "getent hosts m.example"),
        ("m.example:8443", "getent hosts m.example"),
        ("$(reboot)", "getent hosts HOST"),
        ("a;reboot", "getent hosts HOST"),
        ("-x.example", "getent hosts HOST"),
        ("[2001:db8::7]:5000", "getent hosts HOST"),
    ],
)
def test_a_command_that_is_pasted_into_a_shell_has_names_of_hosts_and_nothing_more(
    host: str, pasted: str
) -> None:
    one = first(f'Get "https://{host}/v2/": x509: certificate is valid for y, not x')
    assert one.entry.code == "CERTIFICATE_WRONG_NAME"
    for language in LANGUAGES:
        commands = " ".join(entry_words(one, language).do).split("`")[1::2]
        assert pasted in commands


def test_where_a_fact_is_not_known_chinese_has_no_blanks_for_it() -> None:
    assert entry_words(first("x509: certificate has expired"), "zh").what.startswith("那台主机的证书")
    known = first('Get "https://m.example/v2/": x509: certificate has expired')
    assert entry_words(known, "zh").what.startswith("m.example 的证书")
