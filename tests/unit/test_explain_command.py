"""``sampan doctor --explain``: exit codes, JSON, standard input, and a terminal that stays as it was."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from explained import ORIGIN_STORY
from sampan.cli import main
from sampan.cli.paragraphs import columns
from sampan.errors import AllHostsFailed, Attempt

Captured = pytest.CaptureFixture[str]
UNPRINTABLE = re.compile(r"[^\n\x20-\x7e\u00a1-\u1fff\u2010-\ud7ff\uf900-\uffef]")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMPAN_LANG", "en")
    monkeypatch.setenv("COLUMNS", "80")


def told(capsys: Captured, *words: str) -> tuple[int, str]:
    code = main(["doctor", "--explain", *words])
    return code, capsys.readouterr().out


def document(capsys: Captured, text: str, *words: str) -> Any:
    main([*words, "doctor", "--json", "--explain", text])
    return json.loads(capsys.readouterr().out)


def test_the_origin_story_is_told_in_eighty_columns(capsys: Captured) -> None:
    code, out = told(capsys, ORIGIN_STORY)
    assert code == 0
    assert "[SERVER_ERROR]" in out
    assert "(2 times)" in out
    assert all(columns(line) <= 80 for line in out.splitlines())


def test_chinese_is_told_in_eighty_columns(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPAN_LANG", "zh")
    _, out = told(capsys, ORIGIN_STORY)
    assert "怎么办：" in out
    assert "（2 次）" in out
    assert "） " not in out
    assert all(columns(line) <= 80 for line in out.splitlines())


def test_a_text_of_which_nothing_is_known_ends_with_3_and_says_what_it_names(capsys: Captured) -> None:
    code, out = told(
        capsys, 'strange: "https://m.example/v2/library/alpine/manifests/3?ns=docker.io": 418 I\'m a teapot'
    )
    assert code == 3
    assert "Nothing of this text is in the knowledge base." in out
    for line in ("host: m.example (a mirror)", "asked for: what the tag 3 means", "status: 418"):
        assert f"  {line}" in out
    assert "sampan doctor REFERENCE" in out


def test_a_text_that_names_nothing_says_that_too(capsys: Captured) -> None:
    code, out = told(capsys, "hello")
    assert (code, "What it names" in out) == (3, False)


def test_standard_input_is_read_to_its_end(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ("level=info msg=x\n" * 300_000 + "toomanyrequests: y\n").encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00" + log)))
    code, out = told(capsys, "-")
    assert (code, "[RATE_LIMITED]" in out) == (0, True)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_nothing_is_no_question(capsys: Captured, text: str) -> None:
    assert main(["doctor", "--explain", text]) == 2
    assert "nothing to explain" in capsys.readouterr().err


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_that_comes_out_can_move_a_cursor(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.setenv("SAMPAN_LANG", language)
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u200b\x08\r"
    for text in (
        f'{evil}Failed to pull image "{evil}alpine:3": Head "https://m.example{evil}/v2/": EOF{evil}',
        f"toomanyrequests: {evil}",
        f'pull access denied for {evil}x/y, "https://{evil}/v2/x/manifests/{evil}"',
        evil + "nothing",
    ):
        _, out = told(capsys, text)
        assert not UNPRINTABLE.search(out)
        main(["doctor", "--json", "--explain", text])
        assert not UNPRINTABLE.search(capsys.readouterr().out)


def test_programs_are_told_the_same_in_english(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPAN_LANG", "zh")
    said = document(capsys, ORIGIN_STORY)
    (one,) = said["explained"]
    assert said["known"] is True
    assert (one["code"], one["kind"], one["count"], one["status"]) == ("SERVER_ERROR", "host", 2, 502)
    assert (one["host"], one["role"], one["step"]) == ("atomhub.openatom.cn", "mirror", "blob")
    assert (one["registry"], one["repository"]) == ("docker.io", "library/alpine")
    assert (one["printed_by"], one["words_of"]) == ("crictl", "containerd")
    assert one["what"].startswith("atomhub.openatom.cn failed by itself")
    assert len(one["remarks"]) == 6
    assert one["gone"] == "2024-12-30"


def test_programs_are_told_what_an_unknown_text_names(capsys: Captured) -> None:
    said = document(capsys, "x https://m.example/v2/")
    assert (said["known"], said["explained"]) == (False, [])
    assert said["names"] == {
        "host": "m.example",
        "asked for": "its /v2/, which says whether it is a registry",
    }


def test_hosts_of_the_configuration_are_known(capsys: Captured, tmp_path: Path) -> None:
    config = tmp_path / "own.toml"
    config.write_text('[registry."docker.io"]\nmirrors = ["https://hub.lan:8443"]\n')
    refused = '"https://{}/v2/": dial tcp 10.0.0.9:8443: connect: connection refused'
    (one,) = document(capsys, refused.format("hub.lan:8443"), "--config", str(config))["explained"]
    assert one["role"] == "mirror"
    (one,) = document(capsys, refused.format("127.0.0.1:5050"), "--config", str(config))["explained"]
    assert one["role"] == "sampan"


@pytest.mark.parametrize(
    ("host", "role"),
    [
        ("hub-mirror.c.163.com", "mirror"),
        ("abcd1234.mirror.aliyuncs.com", "mirror"),
        ("mirror.aliyuncs.com", None),
        ("registry.cn-hangzhou.aliyuncs.com", None),
        ("public.ecr.aws", "origin"),
    ],
)
def test_hosts_of_the_catalogue_are_known_where_they_are_mirrors_and_nothing_else(
    capsys: Captured, host: str, role: str | None
) -> None:
    (one,) = document(capsys, f'"https://{host}/v2/": dial tcp 10.0.0.9:443: i/o timeout')["explained"]
    assert one["role"] == role


def test_what_the_configuration_says_of_a_host_counts_more_than_the_catalogue(
    capsys: Captured, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text('[registry."docker.io"]\norigin_url = "https://docker.m.daocloud.io"\n')
    text = '"https://docker.m.daocloud.io/v2/": dial tcp 10.0.0.9:443: i/o timeout'
    assert document(capsys, text)["explained"][0]["role"] == "mirror"
    assert document(capsys, text, "--config", str(config))["explained"][0]["role"] == "origin"


def test_a_mirror_that_is_no_more_is_told_with_the_day_when_that_was_known(capsys: Captured) -> None:
    text = 'Head "https://{}/v2/library/alpine/manifests/3": dial tcp: lookup {}: no such host'
    for host, gone in (("dockerhub.azk8s.cn", True), ("docker.m.daocloud.io", False), ("a.example", False)):
        (one,) = document(capsys, text.format(host, host))["explained"]
        told_so = [remark for remark in one["remarks"] if "is no more" in remark]
        assert (one["gone"] is not None, len(told_so)) == (gone, int(gone))
        assert all(one["gone"] in remark for remark in told_so)


def test_a_configuration_that_cannot_be_read_is_done_without(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "sampan.toml").write_text("nonsense = [")
    assert told(capsys, "toomanyrequests: x")[0] == 0


def test_what_sampan_itself_says_is_explained_host_by_host(capsys: Captured) -> None:
    attempts = [
        Attempt("docker.m.daocloud.io", "denied", 0.1, 403, detail="403: this image is not in the allowlist"),
        Attempt("mirror.example:8443", "truncated", 2.0),
        Attempt("registry-1.docker.io", "dns", 0.0, detail="registry-1.docker.io: the name does not resolve"),
    ]
    error = AllHostsFailed("docker.io/library/alpine:3", attempts, hint="see sampan doctor")
    for text in (f"error: {error.message}\nhint: {error.hint}", json.dumps({"message": error.message})):
        found = document(capsys, text)["explained"]
        assert [(one["code"], one["host"]) for one in found] == [
            ("NOT_ON_ALLOW_LIST", "docker.m.daocloud.io"),
            ("BODY_CUT", "mirror.example:8443"),
            ("NO_SUCH_HOST", "registry-1.docker.io"),
            ("SAMPAN_NO_HOST_LEFT", found[3]["host"]),
        ]
