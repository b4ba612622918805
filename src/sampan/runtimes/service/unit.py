"""The text of the unit: the one file ``sampan.service`` beside this module, with this machine's program.

Guarantees that what is installed is that file but for the lines that must differ, and that nothing is
installed that could not start: a program or a configuration that the service's user cannot read.
"""

from __future__ import annotations

import re
from importlib import resources

from sampan.runtimes.plan import refuse
from sampan.runtimes.toml_text import NotTomlError, parse
from sampan.runtimes.tree import File, Tree
from sampan.words import sentence

UNIT = "sampan.service"
PATH = f"/etc/systemd/system/{UNIT}"
CONFIG = "/etc/sampan/sampan.toml"
STORE = "/var/lib/sampan-store"
LISTEN = "127.0.0.1:5050"  # where nothing else is said
PROGRAMS = ("/opt/sampan/bin/sampan", "/usr/local/bin/sampan", "/usr/bin/sampan")
HIDDEN = ("/root/", "/home/", "/run/user/")  # ProtectHome
PRIVILEGED_PORT_MAX = 1023
EVERYBODY_READS = 0o004
_PROGRAM = re.compile(rf"^ExecStart={re.escape(PROGRAMS[0])} ", re.MULTILINE)


def shipped() -> str:
    """The unit as it is shipped."""
    return resources.files(__package__).joinpath(UNIT).read_text(encoding="utf-8")


def unit_text(tree: Tree) -> str:
    """The unit for the machine of ``tree``. Raises PlanMismatch when it could not start there."""
    program = _program(tree)
    text = _PROGRAM.sub(f"ExecStart={program} ", shipped())
    if port(listen_of(tree)) <= PRIVILEGED_PORT_MAX:
        bind = "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"
        text = text.replace("CapabilityBoundingSet=\n", bind).replace("PrivateUsers=yes\n", "")
    return text


def listen_of(tree: Tree) -> str:
    """Where it will listen, by its configuration. Raises PlanMismatch for one that it cannot read."""
    file = tree.file(CONFIG)
    data = file.editable() if not file.link else file.data
    if data is None:
        hint = sentence("put the configuration there: it is the service's own")
        raise refuse(CONFIG, sentence("the service has no configuration"), hint=hint)
    if file.mode is not None and not file.mode & EVERYBODY_READS:
        hint = sentence(
            "chmod a+r {config}; a password belongs into a file of its own, see LoadCredential in {unit}",
            config=CONFIG,
            unit=UNIT,
        )
        raise refuse(
            CONFIG, sentence("the service runs as a user of its own, which may not read it"), hint=hint
        )
    try:
        server = parse(data).table.get("server", {})
    except NotTomlError as error:
        raise refuse(CONFIG, error.reason, line=error.line) from error
    listen = server.get("listen", LISTEN) if isinstance(server, dict) else LISTEN
    return str(listen)


def port(listen: str) -> int:
    """The port of ``HOST:PORT``, 0 where there is none."""
    number = listen.rpartition(":")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) <= 5 else 0


def store_of(tree: Tree) -> str | None:
    """The store that the configuration names."""
    try:
        store = parse(tree.file(CONFIG).data or b"").table.get("store", {})
    except NotTomlError:
        return None
    path = store.get("path") if isinstance(store, dict) else None
    return path if isinstance(path, str) else None


def _program(tree: Tree) -> str:
    """The first that is there and is not hidden from the service. Raises PlanMismatch."""
    for path in PROGRAMS:
        file = tree.file(path)
        if file.data is None:
            continue
        if _is_hidden(tree, file):
            hint = sentence("python3 -m venv /opt/sampan, and install it there")
            raise refuse(
                path, sentence("it leads into a home directory, which services do not see"), hint=hint
            )
        return path
    hint = sentence(
        "python3 -m venv /opt/sampan, and install it there; looked for: {names}", names=", ".join(PROGRAMS)
    )
    raise refuse(PROGRAMS[0], sentence("no sampan is installed for the whole machine"), hint=hint)


def _is_hidden(tree: Tree, file: File) -> bool:
    """Whether the script, or the Python that it names, is in truth in a home directory."""
    first = file.text.partition("\n")[0]
    interpreter = first[2:].partition(" ")[0] if first.startswith("#!/") else file.path
    places = (file.real, interpreter, tree.file(interpreter).real)
    return any(place.startswith(HIDDEN) for place in places if place is not None)
