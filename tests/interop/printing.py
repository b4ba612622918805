"""What real programs print when something is wrong, each in its own words: texts for ``doctor --explain``.

Every function brings one program into one situation, on loopback, and returns what it said. What each of
these texts means is in :mod:`interop.meanings`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from interop import peers
from interop.containerd import Containerd
from interop.cri import CriError
from interop.engines import Docker
from interop.processes import POLL_SECONDS, surroundings

COMMAND_SECONDS = 50.0
START_SECONDS = 3.0  # a daemon that refuses its files ends in a fraction of that

# -- pulls ----------------------------------------------------------------------------------------


def by_cri(runtime: Containerd, url: str) -> str:
    """As a kubelet is told: the error of the runtime's gRPC; empty when the image came."""
    runtime.use("docker.io", [url])
    return pulled(runtime)


def pulled(runtime: Containerd) -> str:
    """Pull with the hosts.toml that is there: the error, or nothing."""
    with _without_content(runtime):
        try:
            runtime.cri.pull("alpine:3")
        except CriError as error:
            name = "".join(word.capitalize() for word in error.code.split("_"))
            return f"rpc error: code = {name} desc = {error.details}"
        runtime.cri.remove("alpine:3")
        return ""


def pulled_in_the_end(runtime: Containerd) -> None:
    """Pull until it works: garbage is collected behind what is asked."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while words := pulled(runtime):
        assert time.monotonic() < deadline, words
        time.sleep(POLL_SECONDS)


def forget(runtime: Containerd) -> None:
    """Have it collect its garbage: a manifest that came damaged is kept until then, and ends the next pull,
    whichever host is asked."""
    ctr: list[str | Path] = [
        peers.beside(runtime.name, "ctr"),
        "--address",
        runtime.socket,
        "--namespace",
        "k8s.io",
    ]
    said([*ctr, "leases", "create", "--id", "passing"])
    said([*ctr, "leases", "delete", "--sync", "passing"])


def in_log(runtime: Containerd, act: Callable[[], object]) -> str:
    """What containerd writes meanwhile, but for what is no news."""
    log = runtime.process.log
    before = log.stat().st_size
    act()
    lines = log.read_bytes()[before:].decode().splitlines()
    return "\n".join(line for line in lines if "level=info" not in line or "trying next host" in line)


def by_ctr(runtime: Containerd, *words: str | Path) -> str:
    """``ctr WORDS`` in a namespace of its own."""
    command: list[str | Path] = [
        peers.beside(runtime.name, "ctr"),
        "--address",
        runtime.socket,
        "--namespace",
        "by-ctr",
    ]
    with _without_content(runtime):
        return said([*command, *words])


def by_docker(engine: Docker, url: str) -> str:
    """``docker pull`` from the host itself."""
    client = peers.program("docker-20").parents[1] / "bin" / "docker"  # 28's is in a package of its own
    return said([client, "pull", f"{url.partition('://')[2]}/library/alpine:3"], engine.environ)


def by_crane(reference: str, directory: Path, *, more: Mapping[str, str] | None = None) -> str:
    """``crane pull``; ``more`` stands above its environment."""
    environment = surroundings(HOME="/nonexistent", DOCKER_CONFIG="/nonexistent", **(more or {}))
    return said([peers.program("crane"), "pull", reference, directory / "a.tar"], environment)


def by_skopeo(directory: Path, registries: str, *words: str, auth: str | None = None) -> str:
    """``skopeo inspect`` with these registries."""
    (directory / "registries.conf").write_text(registries)
    (directory / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    environment = surroundings(HOME=str(directory), XDG_RUNTIME_DIR=str(directory))
    if auth is not None:
        (directory / "auth.json").write_text(auth)
        environment["REGISTRY_AUTH_FILE"] = str(directory / "auth.json")
    settings: list[str | Path] = [
        "--policy",
        directory / "policy.json",
        "--registries-conf",
        directory / "registries.conf",
    ]
    return said([peers.program("skopeo"), *settings, "inspect", *words], environment)


@contextlib.contextmanager
def _without_content(runtime: Containerd) -> Iterator[None]:
    """An empty content store afterwards: what came before a failure would not be asked for again."""
    yield
    ctr: list[str | Path] = [peers.beside(runtime.name, "ctr"), "--address", runtime.socket]
    for namespace in ("k8s.io", "by-ctr"):
        own = [*ctr, "--namespace", namespace]
        for digest in said([*own, "content", "ls", "-q"]).split():
            said([*own, "content", "rm", digest])


# -- names ----------------------------------------------------------------------------------------


def without_names(command: Sequence[str | Path], directory: Path, *, files_alone: bool) -> str:
    """``command`` on a machine whose resolver is closed (``lookup …: connection refused``), or that knows its
    own files alone (``no such host``)."""
    (directory / "resolv.conf").write_text("nameserver 127.9.9.9\noptions timeout:1 attempts:1\n")
    (directory / "nsswitch.conf").write_text(f"hosts: files{'' if files_alone else ' dns'}\n")
    names = ("resolv.conf", "nsswitch.conf")
    mounts = " && ".join(f"mount --bind {directory}/{name} /etc/{name}" for name in names)
    environment = surroundings(
        HOME="/nonexistent", DOCKER_CONFIG="/nonexistent", HTTPS_PROXY="", HTTP_PROXY=""
    )
    shell = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
    return said([*shell, *command], environment)


# -- daemons that do not start, or start without what was meant ---------------------------------------


def containerd_with(name: str, home: Path, config: str) -> str:
    """What that containerd says of ``config``, in which ``{home}`` is a directory for it."""
    places = f'root = "{home}/root"\nstate = "{home}/state"\n'
    sockets = f'[grpc]\n  address = "{home}/c.sock"\n[ttrpc]\n  address = "{home}/t.sock"\n'
    head, line, rest = config.partition("\n")
    (home / "config.toml").write_text(f"{head}{line}{places}{rest.format(home=home)}{sockets}")
    return _of_consequence(started([peers.program(name), "--config", home / "config.toml"], home))


def dockerd_with(name: str, home: Path, config: str, *flags: str) -> str:
    """What that dockerd says of a daemon.json."""
    (home / "daemon.json").write_text(config)
    own: list[str | Path] = [
        "--config-file",
        home / "daemon.json",
        "--data-root",
        home / "root",
        "--exec-root",
        home / "exec",
    ]
    own += ["--pidfile", home / "pid", "--host", f"unix://{home}/d.sock", "--bridge=none", "--iptables=false"]
    # One that starts after all mounts, and starts a containerd: both end with these namespaces.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    return started([*alone, peers.program(name), *own, *flags], home)


def started(command: Sequence[str | Path], home: Path) -> str:
    """What a daemon says until it ends, or until it is clear that it stays."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
        cwd=home,
        env=surroundings(HOME=str(home), TMPDIR=str(home)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = process.communicate(timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate(timeout=COMMAND_SECONDS)
    return output.decode(errors="replace").strip()


def _of_consequence(log: str) -> str:
    """Without plugins that fail everywhere, and without a network for pods."""
    quiet = ("level=info", "skip loading plugin", "load cni", "skip plugin")
    return "\n".join(line for line in log.splitlines() if not any(word in line for word in quiet))


# -- anything -------------------------------------------------------------------------------------


def said(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """All that a command prints, without the colours of a terminal, which it does not have."""
    done = subprocess.run(
        [str(word) for word in command],
        env=dict(environment or surroundings()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.stdout.decode(errors="replace").strip()


def hosts_of(runtime: Containerd, text: str) -> Path:
    """``text`` as the hosts.toml of docker.io; every other registry is nobody's."""
    directory = runtime.hosts_directory / "docker.io"
    directory.mkdir(exist_ok=True)
    (directory / "hosts.toml").write_text(text)
    return directory
