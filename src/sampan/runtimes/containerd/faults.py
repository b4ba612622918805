"""What is wrong with containerd's own configuration, above all what is configured and does nothing."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.errors import printable
from sampan.runtimes.containerd.facts import CRI, plugins_of
from sampan.runtimes.containerd.files import CONFIG, Config, Layer, glob, read_layer
from sampan.runtimes.containerd.legacy import endpoint_problem, never_read
from sampan.runtimes.containerd.registry import (
    NAMES,
    OLD,
    SHORT,
    Part,
    Registry,
    read_name,
    read_registry,
)
from sampan.runtimes.contract import Finding, Installed, Level, Version
from sampan.runtimes.tree import Tree
from sampan.words import sentence

_TRANSFER = "io.containerd.transfer.v1.local"
_STRAY = ("/etc/containerd/*.toml", "/etc/containerd/*.d/*.toml")
_BROKEN_BETWEEN = (Version(2, 2, 0), Version(2, 2, 1))


def config_findings(tree: Tree, config: Config, installed: Installed) -> list[Finding]:
    """All about config.toml and what it imports, or does not."""
    registry = read_registry(config)
    found = [*config.findings, *_format(config), *_drop_ins(tree, config)]
    for layer in config.layers:
        found += _layer(layer, config)
    for part in registry.parts:
        found += _part(part, config)
    found += _replaced(config)
    found += [*_exclusion(config, registry), *_config_path(tree, config, registry)]
    return [*found, *_disabled(config, registry), *_not_loaded(config, registry, installed)]


def _format(config: Config) -> Iterator[Finding]:
    number, main = config.main.version or 1, config.main
    if config.version is None or number <= config.latest_format:
        return
    line = main.toml.line("version")
    message = sentence(
        "version = {number}, and containerd {version} reads {latest} at most",
        number=number,
        version=config.version,
        latest=config.latest_format,
    )
    if config.version >= Version(1, 7):
        yield Finding(
            "CONFIG_FORMAT",
            sentence("{message}: it does not start", message=message),
            "error",
            main.path,
            line,
        )
    else:
        yield Finding(
            "CONFIG_FORMAT",
            sentence("{message}: it takes it for 2", message=message),
            "warning",
            main.path,
            line,
        )


def _layer(layer: Layer, config: Config) -> Iterator[Finding]:
    table, path, line = layer.toml.table, layer.path, layer.toml.line
    if isinstance(table.get("plugin"), dict):
        message = sentence("[plugin.…] is ignored without a word: the table is called plugins")
        yield Finding("PLUGIN_SINGULAR", message, "dead", path, line("plugin"), sentence("write [plugins.…]"))
    if (layer.version or 1) == 2 and layer.plugin(SHORT) is not None and not config.is_2:
        message = sentence("[plugins.{name}] in a file of version 2: containerd does not start", name=SHORT)
        yield Finding(
            "PLUGIN_NAME",
            message,
            "error",
            path,
            line("plugins", SHORT),
            sentence('write [plugins."{name}"]', name=OLD),
        )
    for name in table.get("disabled_plugins") or () if (layer.version or 1) >= 2 else ():
        if isinstance(name, str) and "." not in name:
            message = sentence(
                '"{name}" in disabled_plugins of a file of version {version}: containerd does not start',
                name=printable(name),
                version=layer.version,
            )
            hint = sentence('write "{name}"', name=OLD) if name == SHORT else None
            yield Finding("PLUGIN_NAME", message, "error", path, line("disabled_plugins"), hint)
    transfer = layer.plugin(_TRANSFER) or {}
    if transfer.get("config_path"):
        message = sentence(
            "this config_path has no effect: ctr asks --hosts-dir alone, and the CRI has its own"
        )
        yield Finding(
            "TRANSFER_CONFIG_PATH", message, "dead", path, line("plugins", _TRANSFER, "config_path")
        )


def _part(part: Part, config: Config) -> Iterator[Finding]:
    path = part.layer.path
    if not part.read:
        yield Finding("PLUGIN_NAME", _why_unread(part, config), "dead", path, part.line())
        return
    for key, mirror in part.tables("mirrors").items():
        place = part.line("mirrors", key)
        shown = printable(key, characters_max=80)
        if (reason := never_read(key)) is not None:
            message = sentence('mirrors."{shown}" is never asked: {reason}', shown=shown, reason=reason)
            hint = (
                sentence('write it as mirrors."docker.io"')
                if "docker.io" in key
                else sentence("write the host alone")
            )
            yield Finding("MIRROR_NEVER_READ", message, "dead", path, place, hint)
            continue
        for endpoint in mirror.get("endpoint") or ():
            problem = endpoint_problem(endpoint) if isinstance(endpoint, str) else sentence("it is no URL")
            if problem is not None:
                at = part.line("mirrors", key, "endpoint")
                url = printable(str(endpoint), characters_max=100)
                message = sentence("{url}: {problem}", url=url, problem=problem)
                yield Finding("MIRROR_PATH", message, "warning", path, at)
    for key, each in part.tables("configs").items() if config.is_2 else ():
        if "tls" in each:
            message = sentence("configs.*.tls is not read since containerd 2.0")
            hint = sentence("put ca or skip_verify into hosts.toml")
            at = part.line("configs", key, "tls")
            yield Finding("TLS_NEVER_READ", message, "dead", path, at, hint)


def _replaced(config: Config) -> Iterator[Finding]:
    """What a drop-in of 1.x takes away: the last file with the CRI's table replaces those before."""
    if config.version is None or config.is_2:
        return
    (name, *_) = read_name(config.main.version, config)
    having = [layer for layer in config.layers if layer.plugin(name) is not None]
    for layer in having[:-1]:
        kept = having[-1].plugin(name) or {}
        lost = [key for key in layer.plugin(name) or {} if key not in kept and key != "registry"]
        if lost:
            message = sentence(
                "{shown} here replaces that of {path} as a whole, and with it {keys}",
                shown=f'[plugins."{name}"]',
                path=printable(layer.path),
                keys=", ".join(map(printable, lost)),
            )
            hint = sentence(
                "copy into it what still is to count, or move it into {path}", path=printable(layer.path)
            )
            level: Level = "error" if "containerd" in lost else "warning"  # its runtimes, and how they run
            line = having[-1].toml.line("plugins", name)
            yield Finding("DROP_IN_REPLACES", message, level, having[-1].path, line, hint)


def _why_unread(part: Part, config: Config) -> str:
    number = part.layer.version or 1
    shown = f'[plugins."{part.plugin}".registry]' if "." in part.plugin else "[plugins.cri.registry]"
    names = read_name(part.layer.version, config)
    if not config.is_2 and part.plugin in names:
        return sentence(
            "{shown} is replaced as a whole: a file that is imported later has the CRI's table too",
            shown=shown,
        )
    if number < 2:
        reader = (
            sentence("2.x reads nothing of the CRI")
            if config.is_2
            else sentence("1.x looks for [plugins.{name}.registry]", name=SHORT)
        )
        said = sentence("no version") if part.layer.version is None else sentence("version = 1")
        return sentence(
            "{shown} is not read: the file has {said}, and in such a file {reader}",
            shown=shown,
            said=said,
            reader=reader,
        )
    right = f'[plugins."{names[0]}".registry]' if names else sentence("another table")
    return sentence(
        "{shown} is not read in a file of version {number}: there it is {right}",
        shown=shown,
        number=number,
        right=right,
    )


def _exclusion(config: Config, registry: Registry) -> Iterator[Finding]:
    """What keeps the CRI plugin from loading, and all pulls of the kubelet with it."""
    if config.version in _BROKEN_BETWEEN and registry.mirrors and (config.main.version or 1) < 3:
        part = next(iter(registry.mirrors.values()))
        message = sentence(
            "containerd {version} does not load its CRI plugin with registry.mirrors in this format",
            version=config.version,
        )
        yield Finding(
            "MIRRORS_AND_CONFIG_PATH", message, "error", part.layer.path, part.line("mirrors"), _MOVE
        )
    elif registry.broken is not None and registry.path_part is not None:
        key = registry.broken
        part = next(iter((registry.mirrors if key == "mirrors" else registry.tls).values()))
        other, line = registry.path_part.layer.path, registry.path_part.line("config_path")
        place = sentence("line {line}", line=line) if other == part.layer.path else f"{other}:{line}"
        message = sentence(
            "{key} and config_path ({place}) exclude each other: containerd runs without its CRI, "
            "and the kubelet can neither pull nor start anything",
            key=key,
            place=place,
        )
        at = part.line(*key.split(".")[:1])
        yield Finding("MIRRORS_AND_CONFIG_PATH", message, "error", part.layer.path, at, _MOVE)


_MOVE = sentence("sampan node apply moves it into hosts.toml files")


def _config_path(tree: Tree, config: Config, registry: Registry) -> Iterator[Finding]:
    part = registry.path_part
    path, line = (config.main.path, None) if part is None else (part.layer.path, part.line("config_path"))
    if registry.is_list and registry.transfer is not False:
        message = sentence(
            "config_path is a list of directories, which the transfer service takes for one: "
            "no hosts.toml is read"
        )
        if part is None:
            message = sentence(
                "config_path is by default a list of directories, which the transfer service takes for one: "
                "no hosts.toml is read"
            )
        level: Level = "warning" if registry.transfer is None else "dead"
        yield Finding("CONFIG_PATH_LIST", message, level, path, line, sentence("name one directory"))
    for root in registry.roots if part is not None else ():
        if not tree.directory(root).exists:
            message = sentence("config_path names {root}, which is not there", root=printable(root))
            yield Finding("CONFIG_PATH_ABSENT", message, "note", path, line)


def _drop_ins(tree: Tree, config: Config) -> Iterator[Finding]:
    """Files that look as if they were imported, and are not."""
    known = {layer.path for layer in config.layers} | {CONFIG}
    for path in [path for pattern in _STRAY for path in glob(tree, pattern)]:
        layer = read_layer(tree, path) if path not in known else None
        tables = [(layer.plugin(name) or {}).get("registry") for name in NAMES] if layer else []
        if layer is not None and any(isinstance(table, dict) for table in tables):
            message = sentence("nobody reads it: {path} does not import it", path=config.main.path)
            hint = f'imports = ["{path.rpartition("/")[0]}/*.toml"]'
            yield Finding("DROP_IN_NOT_IMPORTED", message, "dead", path, None, hint)


def _disabled(config: Config, registry: Registry) -> Iterator[Finding]:
    if config.disabled is None:
        return
    layer, name = config.disabled
    line = layer.toml.line("disabled_plugins")
    level: Level = "dead" if registry.parts else "note"
    message = sentence(
        'the CRI is disabled ("{name}"): no kubelet can pull, and nothing here tells Docker anything',
        name=name,
    )
    yield Finding("CRI_DISABLED", message, level, layer.path, line)


def _not_loaded(config: Config, registry: Registry, installed: Installed) -> Iterator[Finding]:
    """The daemon's own word, where nothing in its files says why."""
    state = plugins_of(installed.answers.get("plugins", "")).get(CRI)
    if state == "error" and registry.broken is None and config.disabled is None:
        message = sentence("the running containerd has not loaded its CRI plugin")
        yield Finding("CRI_NOT_LOADED", message, "error", config.main.path, hint="journalctl -u containerd")
