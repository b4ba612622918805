"""Which cause comes before which symptom: one table of all codes, likely causes first.

The order is that of a person who mends: what breaks everything on the machine, then what keeps a runtime from
working or from doing as its files say, then the hosts that would be asked, then what is seen only because of
one of those. The rules below say which is whose consequence. Beside these tables: no code is named anywhere
that orders findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# The name: what is no name is on no host.
NAMES = (
    "NAME_INVALID",
    "NAME_MISREAD",
    "NAME_NOT_OF_HUB",
)
# The machine: nothing works before these do.
MACHINE = (
    "CLOCK_OFF",
    "DISK_READ_ONLY",
    "DISK_FULL",
    "DNS_DEAD",
    "PROXY_DEAD",
    "PROXY_INVALID",
    "AUTHORITIES_ABSENT",
    "DNS_FORGED",
)
# A runtime that does not run, or cannot pull whatever it is told.
RUNTIMES = (
    "CONFIG_PARSE",
    "CONFIG_FORMAT",
    "IMPORT_ABSENT",
    "MIRRORS_AND_CONFIG_PATH",
    "PLUGIN_NAME",
    "DROP_IN_REPLACES",
    "CRI_DISABLED",
    "CONFIG_REFUSED",
    "CRI_NOT_LOADED",
    "LOG_PLUGIN_FAILED",
    "DAEMON_JSON_PARSE",
    "FLAG_AND_FILE",
    "DOCKER_MIRROR_INVALID",
    "DOCKER_SILENT",
    "REGISTRIES_CONF_INVALID",
    "CRIO_CONF_INVALID",
    "PODMAN_SILENT",
    "CRIO_SILENT",
    "REGISTRIES_YAML_PARSE",
    "BUILDKITD_TOML_PARSE",
    "DAEMON_DOWN",
    "DAEMON_SILENT",
    "BUILDKIT_SILENT",
    "MICROK8S_SILENT",
    "CERTIFICATE_ABSENT",
    "SERVER_IS_DOCKER_IO",
    "NO_RESOLVER",
    "FILE_UNREADABLE",
)
# Between a runtime and the hosts that it asks.
BETWEEN = (
    "PROXY_WITHOUT_NO_PROXY",
    "PROXY_NOT_IN_FORCE",
    "PROXY_ALL_IGNORED",
    "AUTHORITY_NOT_INSTALLED",
    "DNS_PINNED",
    "DNS_DIFFERS",
)
# What is configured, and does nothing: the mirror that is never asked.
CONFIGURED = (
    "MIRROR_KEY_HAS_PATH",
    "MIRROR_NEVER_READ",
    "CONFIG_PATH_LIST",
    "CONFIG_PATH_NOT_IN_FORCE",
    "CONFIG_PATH_ABSENT",
    "PLUGIN_SINGULAR",
    "DROP_IN_NOT_IMPORTED",
    "NOT_RESTARTED",
    "MIRRORS_NOT_IN_FORCE",
    "MIRRORS_OVERRIDDEN",
    "DOCKER_MIRRORS_HUB_ALONE",
    "MIRROR_IS_GONE",
    "HOSTS_TOML_DROPPED",
    "TRANSFER_CONFIG_PATH",
    "HOSTS_TOML_UNREAD",
    "HOSTS_DIRECTORY_EMPTY",
    "HOST_WITHOUT_HEADER",
    "HOST_PATH_NOT_OVERRIDDEN",
    "HOST_DOES_NOTHING",
    "HTTP_HOST_WITH_TLS",
    "MIRROR_PATH",
    "SERVER_IN_HOST_TABLE",
    "HOSTS_KEY_UNKNOWN",
    "DOCKER_KEY_SINGULAR",
    "MIRROR_SCHEME_IGNORED",
    "MIRROR_OPTIONS_MISPLACED",
    "LOOPBACK_OF_BUILDER",
    "BUILDKIT_KEY_UNKNOWN",
    "BUILDER_IS_OLDER",
    "PREFIX_NEVER_MATCHES",
    "REGISTRY_OVERRIDDEN",
    "REGISTRY_KEY_STRAY",
    "REGISTRIES_CONF_UNREAD",
    "USER_FILE_HIDES_SYSTEM",
    "SHORT_NAMES_NOWHERE",
    "SHORT_NAMES_AMBIGUOUS",
    "GENERATED_BY_HAND",
    "TEMPLATE_WITHOUT_REGISTRIES",
    "TLS_NEVER_READ",
    "CERTIFICATE_UNREAD",
    "CRIO_KEY_DEAD",
    "SERVICE_STOPPED",
)
# The hosts: what nobody has, then those who cannot give it, then those who give something else.
HOSTS = (
    "REGISTRY_WITHOUT_HOSTS",
    "IMAGE_NOWHERE",
    "IMAGE_LEFT_OUT",
    "HOST_CERTIFICATE_EARLY",
    "HOST_PROXY_FAILS",
    "HOST_CERTIFICATE_FOREIGN",
    "HOST_CERTIFICATE_UNKNOWN",
    "HOST_CERTIFICATE_EXPIRED",
    "HOST_NAME_DEAD",
    "HOST_ADDRESS_PRIVATE",
    "HOST_BLACK_HOLED",
    "HOST_TLS_CUT",
    "HOST_TLS_FAILS",
    "HOST_UNROUTABLE",
    "HOST_REFUSES",
    "HOST_NOT_A_REGISTRY",
    "HOST_LEADS_ASTRAY",
    "HOST_LOGIN_REFUSED",
    "HOST_LOGIN_WANTED",
    "HOST_TOKEN_BLOCKED",
    "HOST_TOKEN_FAILS",
    "HOST_RATE_LIMITED",
    "HOST_ALLOW_LIST",
    "HOST_CDN_BLOCKED",
    "HOST_CDN_FAILS",
    "HOST_WRONG_BYTES",
    "HOST_STALLS",
    "HOST_SILENT",
    "HOST_TOO_SLOW",
    "HOST_FAILS",
    "HOST_BLOB_DENIED",
    "HOST_LACKS_BLOB",
    "HOST_DENIES",
    "HOST_LACKS_IMAGE",
    "TAG_STALE",
    "TAG_DIFFERS",
    "HOST_HEAD_FAILS",
    "HOST_HEAD_DIFFERS",
)
# What comes of all that: what a runtime asks, and gets.
CHAIN = (
    "CHAIN_ASKS_NOBODY",
    "CHAIN_FAILS",
    "PREDICTION_DIFFERS",
    "PULL_FAILS",
)
# What costs time, or will.
COSTS = (
    "CHAIN_PASSES_OVER",
    "CHAIN_DETOUR",
    "PROXY_OF_SHELL_ALONE",
    "DNS_SERVER_DEAD",
    "IPV6_BLACK_HOLE",
    "HOST_RATE_LIMIT_LOW",
    "HOST_SLOW",
    "DISK_LOW",
    "LOG_HOST_LEFT",
)
# Worth knowing.
NOTES = (
    "NAME_TAG_IDLE",
    "NOT_CONFIGURED",
    "HOST_CLOCK_OFF",
    "LOG_FILE_DROPPED",
    "CLOCK_NOT_KEPT",
    "IPV6_NO_ROUTE",
    "HOSTS_TOML_NAMES_NOBODY",
    "REGISTRIES_CONF_V1",
    "NOT_OF_THIS_MACHINE",
)
TIERS: tuple[tuple[str, ...], ...] = (
    NAMES,
    MACHINE,
    RUNTIMES,
    BETWEEN,
    CONFIGURED,
    HOSTS,
    CHAIN,
    COSTS,
    NOTES,
)
ORDER: tuple[str, ...] = tuple(code for tier in TIERS for code in tier)

# What may be a cause although it is no more than a note by itself: it is harmless until something else fails.
CONDITIONAL = frozenset({"NO_RESOLVER", "CRI_DISABLED"})

# any: whoever they are about. subject: both of the same subject. name: the cause is about the effect's
# subject too. host: the cause is a host's that the effect is about, and no origin: that one is asked when all
# else has failed, or was never tried, so it comes (origin) behind what kept the others from being asked.
Relation = Literal["any", "subject", "name", "host", "origin"]


@dataclass(frozen=True, slots=True)
class Rule:
    """``effects`` are, while one of ``causes`` lasts, its consequences and nothing of their own."""

    relation: Relation
    causes: frozenset[str]
    effects: frozenset[str]


def _rule(relation: Relation, causes: tuple[str, ...], effects: tuple[str, ...]) -> Rule:
    return Rule(relation, frozenset(causes), frozenset(effects))


_ASKED = ("CHAIN_FAILS", "PULL_FAILS", "CHAIN_DETOUR")
_SHORT = ("SHORT_NAMES_NOWHERE", "SHORT_NAMES_AMBIGUOUS")
_OF_A_HOST = (*HOSTS, "DNS_FORGED", "DNS_PINNED", "DNS_DIFFERS")
_CERTIFICATES = ("HOST_CERTIFICATE_EXPIRED", "HOST_CERTIFICATE_EARLY")
_NOT_LOADED = ("CONFIG_REFUSED", "CRI_NOT_LOADED", "LOG_PLUGIN_FAILED")
# The first that applies says whose consequence a finding is.
RULES: tuple[Rule, ...] = (
    _rule("any", ("CLOCK_OFF",), _CERTIFICATES),
    _rule("any", ("DISK_READ_ONLY", "DISK_FULL"), ("DAEMON_DOWN", "DAEMON_SILENT", "PULL_FAILS")),
    _rule("any", ("DNS_DEAD",), ("DNS_SERVER_DEAD", "HOST_NAME_DEAD")),
    _rule("any", ("PROXY_DEAD",), ("HOST_PROXY_FAILS",)),
    _rule("any", ("AUTHORITIES_ABSENT",), ("HOST_CERTIFICATE_UNKNOWN",)),
    _rule("subject", ("MIRRORS_AND_CONFIG_PATH", "CONFIG_PARSE", "CRI_DISABLED"), _NOT_LOADED),
    _rule("subject", ("CRI_NOT_LOADED",), ("LOG_PLUGIN_FAILED",)),
    _rule("subject", ("HOSTS_TOML_DROPPED",), ("LOG_FILE_DROPPED",)),
    _rule("subject", ("DNS_PINNED",), HOSTS),
    _rule("name", ("NAME_MISREAD", "NAME_NOT_OF_HUB"), ("IMAGE_NOWHERE",)),
    _rule("subject", (*RUNTIMES, *_SHORT), ("CHAIN_ASKS_NOBODY",)),
    _rule("name", ("PROXY_DEAD",), _ASKED),
    _rule("host", _OF_A_HOST, (*_ASKED, "LOG_HOST_LEFT")),
    _rule("subject", (*RUNTIMES, *BETWEEN, *CONFIGURED), _ASKED),
    _rule("origin", _OF_A_HOST, (*_ASKED, "LOG_HOST_LEFT")),
)
