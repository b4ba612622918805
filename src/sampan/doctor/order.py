"""Which cause comes before which symptom: one table of all codes, likely causes first.

The first that was found is what the verdict names. The order is that of a person who mends: what breaks
everything on the machine, then what keeps a runtime from working or from doing as its files say, then the
hosts that would be asked, then what is seen only because of one of those. EXPLAINS says which is whose
consequence. Beside both: no rule of order anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

ORDER: tuple[str, ...] = (
    # The name: what is no name is on no host.
    "NAME_INVALID",
    # The machine: nothing works before these do.
    "CLOCK_OFF",
    "DISK_READ_ONLY",
    "DISK_FULL",
    "DNS_DEAD",
    "PROXY_DEAD",
    "PROXY_INVALID",
    "AUTHORITIES_ABSENT",
    "DNS_FORGED",
    # A runtime that does not run, or cannot pull whatever it is told.
    "CONFIG_PARSE",
    "CONFIG_FORMAT",
    "IMPORT_ABSENT",
    "MIRRORS_AND_CONFIG_PATH",
    "PLUGIN_NAME",
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
    # Between a runtime and the hosts that it asks.
    "PROXY_WITHOUT_NO_PROXY",
    "PROXY_NOT_IN_FORCE",
    "PROXY_ALL_IGNORED",
    "AUTHORITY_NOT_INSTALLED",
    "DNS_PINNED",
    # What is configured, and does nothing: the mirror that is never asked.
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
    "HOSTS_TOML_DROPPED",
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
    "TRANSFER_CONFIG_PATH",
    "CRIO_KEY_DEAD",
    "SERVICE_STOPPED",
    # What comes of all that: what a runtime asks, and gets.
    "CHAIN_ASKS_NOBODY",
    "CHAIN_FAILS",
    "PREDICTION_DIFFERS",
    "PULL_FAILS",
    # What costs time, or will.
    "CHAIN_DETOUR",
    "PROXY_OF_SHELL_ALONE",
    "DNS_DIFFERS",
    "DNS_SERVER_DEAD",
    "IPV6_BLACK_HOLE",
    "DISK_LOW",
    "LOG_HOST_LEFT",
    # Worth knowing.
    "LOG_FILE_DROPPED",
    "CLOCK_NOT_KEPT",
    "IPV6_NO_ROUTE",
    "HOSTS_TOML_NAMES_NOBODY",
    "REGISTRIES_CONF_V1",
    "NOT_OF_THIS_MACHINE",
    "ELSEWHERE",
)

# A cause -> the codes that are, while it lasts, its consequence and nothing of their own.
EXPLAINS: Mapping[str, frozenset[str]] = {
    "MIRRORS_AND_CONFIG_PATH": frozenset({"CRI_NOT_LOADED", "CONFIG_REFUSED", "LOG_PLUGIN_FAILED"}),
    "CONFIG_PARSE": frozenset({"CRI_NOT_LOADED", "CONFIG_REFUSED", "LOG_PLUGIN_FAILED"}),
    "CRI_NOT_LOADED": frozenset({"LOG_PLUGIN_FAILED"}),
    "HOSTS_TOML_DROPPED": frozenset({"LOG_FILE_DROPPED"}),
    "DISK_READ_ONLY": frozenset({"DAEMON_DOWN", "DAEMON_SILENT", "PULL_FAILS"}),
    "DISK_FULL": frozenset({"DAEMON_DOWN", "DAEMON_SILENT", "PULL_FAILS"}),
    "DNS_DEAD": frozenset({"PULL_FAILS", "DNS_SERVER_DEAD"}),
    "CRI_DISABLED": frozenset({"CRI_NOT_LOADED", "LOG_PLUGIN_FAILED"}),
}
