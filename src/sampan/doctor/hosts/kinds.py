"""What can be wrong with a host, each with why it matters and what to do: sentences, and no rule.

The codes are documented in docs/mirrors.md. Which of them a report comes to is decided in ``failing.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan.words import Text, sentence

TEST = ("sampan", "mirrors", "test")


@dataclass(frozen=True, slots=True)
class Kind:
    """``what`` stands after the host's name; ``command`` mends it, or shows who else there is."""

    what: Text
    why: Text
    hint: Text
    command: tuple[str, ...] = ()


_ANOTHER = sentence("use another mirror: see which of them work from here")
_OPERATOR = sentence("tell its operator; until it is mended, use another mirror")

KINDS: Mapping[str, Kind] = {
    # The way there.
    "HOST_NAME_DEAD": Kind(
        sentence("its name has no address"),
        sentence("it is misspelt, hidden by the nameserver, or gone: mirrors that die do so within weeks"),
        _ANOTHER,
        TEST,
    ),
    "HOST_REFUSES": Kind(
        sentence("it refuses connections: nothing listens at its address"),
        sentence("the service is down, or the port is another"),
        sentence("look at the port in its URL; a mirror of your own has to be started"),
    ),
    "HOST_BLACK_HOLED": Kind(
        sentence("what is sent to it vanishes: it is blocked, or gone"),
        sentence("whoever asks it waits for as long as its patience lasts, for every request"),
        _ANOTHER,
        TEST,
    ),
    "HOST_UNROUTABLE": Kind(
        sentence("there is no way to its address from here"),
        sentence("this machine has no route there, or only by a protocol that it does not have, as IPv6"),
        sentence("look at the routes of this machine: ip route get ADDRESS"),
    ),
    "HOST_ADDRESS_PRIVATE": Kind(
        sentence("its name means a private address, and it is no private host"),
        sentence("a stranger's answer must not lead into your own network: it is not dialled"),
        sentence("for a mirror of your own network set private = true; else do not trust that nameserver"),
    ),
    "HOST_PROXY_FAILS": Kind(
        sentence("the proxy does not let it through"),
        sentence("the host itself was never reached; a proxy is not gone around"),
        sentence("have the proxy allow it, or name it in NO_PROXY when it is reached without"),
    ),
    # TLS.
    "HOST_TLS_CUT": Kind(
        sentence("the connection is cut or silent as soon as its name is said (TLS)"),
        sentence("filters read the name at the beginning of TLS; a host that is down does not get so far"),
        _ANOTHER,
        TEST,
    ),
    "HOST_TLS_FAILS": Kind(
        sentence("TLS fails"),
        sentence("the port may speak plain HTTP, or a protocol that is too old"),
        sentence("write http:// where it is meant; else it is for its operator to mend"),
    ),
    "HOST_CERTIFICATE_EXPIRED": Kind(
        sentence("its certificate has expired"),
        sentence("every client refuses it, unless this machine's clock is wrong"),
        _OPERATOR,
    ),
    "HOST_CERTIFICATE_EARLY": Kind(
        sentence("its certificate is not valid yet"),
        sentence("this machine's clock is slow, or the certificate is younger than it should be"),
        sentence("set the clock right first"),
        ("sudo", "timedatectl", "set-ntp", "true"),
    ),
    "HOST_CERTIFICATE_FOREIGN": Kind(
        sentence("it shows the certificate of somebody else"),
        sentence("the name leads to another machine: it was given up, or the answer was forged"),
        sentence("never switch the check off for it: use another mirror"),
        TEST,
    ),
    "HOST_CERTIFICATE_UNKNOWN": Kind(
        sentence("its certificate is of an authority that this machine does not know"),
        sentence("a private authority, or somebody who opens TLS on the way"),
        sentence("if it is yours: ca = FILE for this mirror; else use another"),
    ),
    # What it answers.
    "HOST_SILENT": Kind(
        sentence("it takes the connection and says nothing"),
        sentence("runtimes wait for minutes where nobody refuses"),
        _ANOTHER,
        TEST,
    ),
    "HOST_STALLS": Kind(
        sentence("its answer stops before the end"),
        sentence("a runtime cannot go on elsewhere in the middle of a layer; sampan does"),
        _OPERATOR,
    ),
    "HOST_TOO_SLOW": Kind(
        sentence("it is too slow to be of use"),
        sentence("a runtime gives up after minutes without progress"),
        _ANOTHER,
        TEST,
    ),
    "HOST_NOT_A_REGISTRY": Kind(
        sentence("what answers there is no registry"),
        sentence("a portal, a parked domain, a challenge for browsers, or a wrong path in the URL"),
        sentence("see what its /v2/ says: a registry answers JSON there, or 401"),
    ),
    "HOST_LEADS_ASTRAY": Kind(
        sentence("it redirects to where nobody may go"),
        sentence("in circles, from https to http, or to no address at all"),
        _OPERATOR,
    ),
    # Logins and refusals.
    "HOST_TOKEN_BLOCKED": Kind(
        sentence("the service that gives its tokens cannot be reached"),
        sentence("it answers by itself, but sends clients for a token to a machine that is blocked here"),
        sentence("use a mirror that gives tokens itself, or none; its operator has to rewrite the realm"),
        TEST,
    ),
    "HOST_TOKEN_FAILS": Kind(
        sentence("the service that gives its tokens gives none"),
        sentence("without a token nothing is given, though the image is there"),
        _OPERATOR,
    ),
    "HOST_LOGIN_WANTED": Kind(
        sentence("it wants a login, and none is configured"),
        sentence("logins are kept for the host that they are for, not for the registry that it mirrors"),
        sentence("set username and password_env for this mirror, or docker login to it"),
    ),
    "HOST_LOGIN_REFUSED": Kind(
        sentence("it refuses the login"),
        sentence("too many wrong passwords lock an account"),
        sentence("check the user and the password of this host"),
    ),
    "HOST_ALLOW_LIST": Kind(
        sentence("the image is not on its list of allowed images"),
        sentence("it is no matter of a login: it gives these images and no others"),
        sentence("use another mirror for this image; allow = […] keeps sampan from asking this one in vain"),
        TEST,
    ),
    "HOST_BLOB_DENIED": Kind(
        sentence("it gives the manifest and refuses the content"),
        sentence("a runtime has chosen it by then, and some do not ask another"),
        _ANOTHER,
        TEST,
    ),
    "HOST_DENIES": Kind(
        sentence("it refuses the image"),
        sentence("mirrors say 403 also for names that do not exist: it may be misspelt"),
        sentence("check the name first; then whether the image is private, or the mirror picks its images"),
    ),
    "HOST_LACKS_IMAGE": Kind(
        sentence("it does not have the image"),
        sentence("many mirrors have the popular images alone"),
        sentence("another host is asked; nothing to do while there is one"),
    ),
    "HOST_LACKS_BLOB": Kind(
        sentence("it has the manifest and not the content"),
        sentence("a copy that was never complete, or of which a part was thrown away"),
        _ANOTHER,
        TEST,
    ),
    "HOST_RATE_LIMITED": Kind(
        sentence("it was asked too often"),
        sentence("its limit counts by address: all who share yours use it up together"),
        sentence("wait, log in, or put a mirror of your own between: sampan serve asks once for all"),
        ("sampan", "serve"),
    ),
    "HOST_RATE_LIMIT_LOW": Kind(
        sentence("its rate limit is almost used up"),
        sentence("its limit counts by address: all who share yours use it up together"),
        sentence("log in, or put a mirror of your own between: sampan serve asks once for all"),
        ("sampan", "serve"),
    ),
    "HOST_FAILS": Kind(
        sentence("it fails by itself: an error of its own"),
        sentence("the mirror has trouble, or its own source does; the image may well exist"),
        sentence("try again later; a second mirror makes it no matter"),
        TEST,
    ),
    # Content.
    "HOST_CDN_BLOCKED": Kind(
        sentence("the storage that it leads to cannot be reached"),
        sentence("the registry answers and the bytes are elsewhere: that machine is blocked by itself"),
        sentence("use a mirror that has the bytes itself"),
        TEST,
    ),
    "HOST_CDN_FAILS": Kind(
        sentence("the storage that it leads to does not give the content"),
        sentence("links to it hold for minutes, and some for the address alone that asked for them"),
        sentence("let both go the same way: through the same proxy, or none"),
    ),
    "HOST_WRONG_BYTES": Kind(
        sentence("it gives bytes that are not what was asked for"),
        sentence("runtimes refuse them at the end of the download, and fail; sampan takes another host"),
        _OPERATOR,
        TEST,
    ),
    "HOST_HEAD_DIFFERS": Kind(
        sentence("it says one digest and gives another"),
        sentence("a runtime asks for the digest first, and then for what it was told"),
        _OPERATOR,
    ),
    "HOST_HEAD_FAILS": Kind(
        sentence("it fails when it is asked what a tag means (HEAD), and has it all the same"),
        sentence("containerd asks that first, and takes the next host"),
        _OPERATOR,
    ),
    "HOST_SLOW": Kind(
        sentence("it is slow"),
        sentence("a layer of some hundred megabytes takes it longer than runtimes wait"),
        _ANOTHER,
        TEST,
    ),
    "HOST_CLOCK_OFF": Kind(
        sentence("its clock is off"),
        sentence("its tokens and links may be over before they begin"),
        sentence("it is for its operator to mend"),
    ),
    # All hosts together.
    "TAG_STALE": Kind(
        sentence("it has an old image under this tag"),
        sentence("nobody can see that from one host alone: runtimes take it for the new one"),
        sentence('let it give content and no tags: capabilities = ["pull"]; or write tags down: sampan lock'),
    ),
    "TAG_DIFFERS": Kind(
        sentence("hosts give different images for this tag"),
        sentence("which one you get is a matter of who answers first"),
        sentence("ask by digest, or write down what the tag means: sampan lock create"),
        ("sampan", "lock", "create"),
    ),
    "IMAGE_NOWHERE": Kind(
        sentence("no host has it"),
        sentence("all of them answer, and say so: it is misspelt, private, or deleted"),
        sentence("check the name and the tag where the image is published"),
    ),
    "IMAGE_LEFT_OUT": Kind(
        sentence("no host may be asked for it"),
        sentence("the settings of each of them (allow, repositories) name other images"),
        sentence("widen allow or repositories in sampan.toml, or add a host without them"),
    ),
    "REGISTRY_WITHOUT_HOSTS": Kind(
        sentence("no host is configured for this registry: nobody is asked"),
        sentence("sampan never asks a registry that its configuration does not name"),
        sentence("add its table to sampan.toml, or one for every other registry"),
    ),
}
