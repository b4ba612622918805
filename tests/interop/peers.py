"""The real programs that the interop tests run: what they are, where they are, and how to get them.

``python tests/interop/peers.py install`` fetches what is missing with the machine's own package
sources and ends in under a second when nothing is; ``install bench`` brings what `make bench` needs
beside that. Programs with no service and few libraries come
from the suite that has the wanted version and are only unpacked, into ``.cache/peers/NAME-VERSION``
(``$SAMPAN_TEST_CACHE`` instead of ``.cache``); the others are installed, as root, without starting
anything. It guarantees that a directory there is whole: it appears by one rename. Tests themselves
never fetch: they ask :func:`program` and :func:`material`, which raise :class:`PeerMissing`.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("SAMPAN_TEST_CACHE") or ROOT / ".cache").resolve()
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
POLICY = Path("/usr/sbin/policy-rc.d")

LISTS_TIMEOUT_SECONDS = 240  # two suites of about 10 MB each
PACKAGE_TIMEOUT_SECONDS = 240  # the largest is 33 MB
INSTALL_TIMEOUT_SECONDS = 600
BOOTSTRAP_TIMEOUT_SECONDS = 300  # 16 s on two cores


class PeerMissing(Exception):
    """A real program, or a thing made from real packages, that is not on this machine."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A package that is fetched from ``suite`` and unpacked, not installed.

    ``version`` is what its version must begin with ("" for any): a suite may have moved on.
    """

    name: str
    package: str
    suite: str
    version: str
    file: str
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """A package that is installed into the system, because it brings libraries with it."""

    package: str
    file: str


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A Debian root file system as one tar, made by mmdebstrap."""

    name: str
    variant: str
    include: tuple[str, ...] = ()
    foreign: bool = False


UNPACKED = (
    Unpacked("containerd-1.6", "containerd", "bookworm", "1.6.", "usr/bin/containerd"),
    Unpacked("containerd-1.7", "containerd", "trixie", "1.7.", "usr/bin/containerd"),
    Unpacked("containerd-2", "containerd", "sid", "2.", "usr/bin/containerd"),
    Unpacked("crane", "crane", "sid", "", "usr/bin/crane"),
    Unpacked("docker-registry", "docker-registry", "bookworm", "2.", "usr/bin/docker-registry"),
    Unpacked("docker-20", "docker.io", "bookworm", "20.10.", "usr/sbin/dockerd"),
    Unpacked("docker-28", "docker.io", "sid", "28.", "usr/sbin/dockerd"),
    Unpacked("kubectl", "kubectl", "sid", "1.", "usr/bin/kubectl"),
    Unpacked("kustomize", "kustomize", "sid", "5.", "usr/bin/kustomize"),
    Unpacked("buildx", "docker-buildx", "sid", "0.", "usr/libexec/docker/cli-plugins/docker-buildx"),
    Unpacked("podman", "podman", "bookworm", "4.", "usr/bin/podman"),
    Unpacked("conmon", "conmon", "bookworm", "", "usr/bin/conmon"),
    Unpacked(
        "libsubid", "libsubid4", "bookworm", "", f"usr/lib/{os.uname().machine}-linux-gnu/libsubid.so.4"
    ),
    Unpacked("umoci", "umoci", "sid", "", "usr/bin/umoci"),
    Unpacked("busybox", "busybox-static", "bookworm", "", "bin/busybox"),
    Unpacked("busybox-foreign", "busybox-static", "bookworm", "", "bin/busybox", foreign=True),
)
INSTALLED = (
    Installed("skopeo", "skopeo"),
    Installed("nginx-light", "nginx"),
    Installed("mmdebstrap", "mmdebstrap"),
    Installed("iproute2", "ip"),
    Installed("runc", "runc"),  # Docker does not start without it, and no container runs
    Installed("systemd", "systemd-analyze"),
    Installed("faketime", "faketime"),  # a clock that is wrong, for one process
)
# No test needs these two.
BENCH_INSTALLED = (Installed("wrk", "wrk"),)
BENCH_UNPACKED = (Unpacked("oras", "oras", "sid", "1.", "usr/bin/oras"),)
# Maintainer scripts of another architecture cannot run here, so its packages are only extracted.
BOOTSTRAPPED = (
    Bootstrapped("debian", "essential"),
    Bootstrapped(
        "debian-foreign", "extract", ("base-files", "coreutils", "dash", "libc6", "sed"), foreign=True
    ),
)
BOOTSTRAP_SUITE = "bookworm"
NOT_NEEDED_IN_A_TEST = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*", "/usr/share/info/*")
FOREIGN = {"amd64": "arm64", "arm64": "amd64"}


# -- where things are -------------------------------------------------------------------------------


def program(name: str) -> Path:
    """The executable ``name``: of ``UNPACKED`` by its name there, else from the system's path."""
    unpacked = next((peer for peer in (*UNPACKED, *BENCH_UNPACKED) if peer.name == name), None)
    if unpacked is not None:
        return _home(unpacked) / unpacked.file
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise PeerMissing(f"{name} is not installed: run `python tests/interop/peers.py install` as root")
    return Path(found)


def beside(name: str, sibling: str) -> Path:
    """Another executable of the same package: ``beside("containerd-2", "ctr")``."""
    return program(name).with_name(sibling)


def version(name: str) -> str:
    """The package version of an unpacked peer, for example ``2.1.9+ds1-5``."""
    peer = next(peer for peer in UNPACKED if peer.name == name)
    return _home(peer).name.removeprefix(f"{_directory_name(peer)}-")


def material(name: str) -> Path:
    """The tar of the root file system ``name`` of ``BOOTSTRAPPED``."""
    path = CACHE / "peers" / f"{name}.tar"
    if not path.exists():
        raise PeerMissing(f"{path} has not been made: run `python tests/interop/peers.py install`")
    return path


def architecture() -> str:
    """This machine's, in the words of Debian and OCI alike: amd64 or arm64."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _directory_name(peer: Unpacked) -> str:
    return f"{peer.package}-{FOREIGN[architecture()]}" if peer.foreign else peer.package


def _home(peer: Unpacked) -> Path:
    prefix = f"{_directory_name(peer)}-{peer.version}"
    homes = [home for home in (CACHE / "peers").glob(f"{prefix}*") if (home / peer.file).exists()]
    # busybox-static-1.35 must not be taken for busybox-static-arm64-1.35: a version begins with a digit.
    homes = [home for home in homes if home.name[len(_directory_name(peer)) + 1].isdigit()]
    if not homes:
        raise PeerMissing(f"{peer.name} has not been fetched: run `python tests/interop/peers.py install`")
    return max(homes, key=lambda home: home.stat().st_ctime)


def missing() -> list[str]:
    """The names of all that a complete test ground needs and this machine lacks."""
    programs = [peer.name for peer in UNPACKED] + [peer.file for peer in INSTALLED]
    absent = [name for name in programs if not _is_there(name)]
    return absent + [b.name for b in BOOTSTRAPPED if not (CACHE / "peers" / f"{b.name}.tar").exists()]


def _is_there(name: str) -> bool:
    with contextlib.suppress(PeerMissing):
        program(name)
        return True
    return False


# -- how they get there -----------------------------------------------------------------------------


def install(*, bench: bool = False) -> list[str]:
    """Fetch, install and make what is missing; the problems, one line each, empty when all is there."""
    (CACHE / "peers").mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / "peers" / ".lock"):
        problems = []
        for step in (
            functools.partial(_install_packages, (*INSTALLED, *(BENCH_INSTALLED if bench else ()))),
            functools.partial(_unpack_packages, (*UNPACKED, *(BENCH_UNPACKED if bench else ()))),
            _bootstrap_all,
        ):
            try:
                step()
            except (PeerMissing, OSError) as error:
                problems.append(str(error))
        return problems


def _install_packages(packed: Sequence[Installed]) -> None:
    wanted = [peer for peer in packed if not _is_there(peer.file)]
    if not wanted:
        return
    packages = [peer.package for peer in wanted]
    _say(f"installing {' '.join(packages)}")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PeerMissing(f"these packages must be installed by root on Debian: {' '.join(packages)}")
    with _services_stay_down():
        _run(["apt-get", "-q", "update"], LISTS_TIMEOUT_SECONDS)
        command = ["apt-get", "-q", "install", "-y", "--no-install-recommends", *packages]
        _run(command, INSTALL_TIMEOUT_SECONDS, {"DEBIAN_FRONTEND": "noninteractive"})


@contextlib.contextmanager
def _services_stay_down() -> Iterator[None]:
    """Debian's own way to install a package without starting its service, for as long as this lasts."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _unpack_packages(packed: Sequence[Unpacked]) -> None:
    problems = []
    for peer in packed:
        if not _is_there(peer.name):
            try:
                _unpack(peer)
            except PeerMissing as error:
                problems.append(str(error))
    if problems:
        raise PeerMissing("\n".join(problems))


def _unpack(peer: Unpacked) -> None:
    _say(f"fetching {peer.name} from {peer.suite}")
    apt = _Apt(peer.suite, FOREIGN[architecture()] if peer.foreign else architecture())
    with tempfile.TemporaryDirectory(dir=CACHE / "peers") as scratch:
        archive = apt.download(peer.package, Path(scratch))
        found = _version_of(archive)
        if not found.startswith(peer.version):
            raise PeerMissing(
                f"{peer.suite} has {peer.package} {found}, where {peer.version}* was wanted: "
                "change the table in tests/interop/peers.py"
            )
        root = Path(scratch, "root")
        _run(["dpkg", "-x", str(archive), str(root)], PACKAGE_TIMEOUT_SECONDS)
        root.chmod(0o755)
        root.rename(CACHE / "peers" / f"{_directory_name(peer)}-{found}")


def _version_of(archive: Path) -> str:
    told = _run(["dpkg-deb", "-f", str(archive), "Version"], PACKAGE_TIMEOUT_SECONDS).strip()
    return told.partition(":")[2] or told  # without the epoch: a colon cannot stand in $PATH


class _Apt:
    """The package client, working in directories of its own, on one suite and one architecture."""

    def __init__(self, suite: str, arch: str) -> None:
        self.home = CACHE / "apt" / f"{suite}-{arch}"
        for part in ("lists/partial", "cache/archives/partial", "state"):
            (self.home / part).mkdir(parents=True, exist_ok=True)
        self.sources = self.home / "debian.sources"
        self.sources.write_text(_sources(suite))
        self.configuration = self.home / "apt.conf"
        self.configuration.write_text(
            f'APT::Architecture "{arch}"; APT::Architectures {{ "{arch}"; }};\n'
            f'Dir::Etc::sourcelist "{self.sources}"; Dir::Etc::sourceparts "/dev/null";\n'
            f'Dir::State "{self.home}/state"; Dir::State::lists "{self.home}/lists";\n'
            f'Dir::State::status "/dev/null"; Dir::Cache "{self.home}/cache";\n'
            'Acquire::Languages "none"; Acquire::Retries "3"; APT::Sandbox::User "root";\n'
        )

    def download(self, package: str, into: Path) -> Path:
        """The newest ``package`` as a file in ``into``; the suite's lists are fetched first, once."""
        if not list(self.home.glob("lists/*_Packages*")):
            self._apt_get("update", timeout_seconds=LISTS_TIMEOUT_SECONDS)
        try:
            self._apt_get("download", package, cwd=into)
        except PeerMissing:  # the lists may be older than the suite, which has dropped that version
            self._apt_get("update", timeout_seconds=LISTS_TIMEOUT_SECONDS)
            self._apt_get("download", package, cwd=into)
        return next(into.glob("*.deb"))

    def _apt_get(
        self, *words: str, cwd: Path | None = None, timeout_seconds: float = PACKAGE_TIMEOUT_SECONDS
    ) -> None:
        environment = {"APT_CONFIG": str(self.configuration)}
        _run(["apt-get", "-q", *words], timeout_seconds, environment, cwd=cwd)


def _sources(suite: str) -> str:
    """The machine's own package source, another suite of it."""
    signed_by = f"Signed-By: {KEYRING}\n" if KEYRING.exists() else ""
    return f"Types: deb\nURIs: {_own_source()}\nSuites: {suite}\nComponents: main\n{signed_by}"


@functools.cache
def _own_source() -> str:
    if shutil.which("apt-get") is None:
        raise PeerMissing("these programs come from Debian packages, and this machine has no apt-get")
    told = _run(["apt-get", "update", "--print-uris"], LISTS_TIMEOUT_SECONDS)
    for uri, suite in re.findall(r"^'(\S+?)/dists/([^/]+)/InRelease'", told, re.MULTILINE):
        if suite in (_codename(), "stable", "testing", "unstable"):
            return str(uri)
    raise PeerMissing("the machine's package sources name no Debian suite")


def _codename() -> str:
    match = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return match[1] if match else ""


def _bootstrap_all() -> None:
    for wanted in BOOTSTRAPPED:
        path = CACHE / "peers" / f"{wanted.name}.tar"
        if not path.exists():
            _say(f"making the root file system {wanted.name}")
            _bootstrap(wanted, path)


def _bootstrap(wanted: Bootstrapped, path: Path) -> None:
    arch = FOREIGN[architecture()] if wanted.foreign else architecture()
    with tempfile.TemporaryDirectory(dir=CACHE / "peers") as scratch:
        made, sources = Path(scratch, "root.tar"), Path(scratch, "debian.sources")
        sources.write_text(_sources(BOOTSTRAP_SUITE))
        command = ["mmdebstrap", f"--variant={wanted.variant}", f"--architectures={arch}"]
        command += [f"--dpkgopt=path-exclude={glob}" for glob in NOT_NEEDED_IN_A_TEST]
        command += [f"--include={','.join(wanted.include)}"] if wanted.include else []
        command += ['--aptopt=Acquire::Languages "none"', BOOTSTRAP_SUITE, str(made), str(sources)]
        _run(command, BOOTSTRAP_TIMEOUT_SECONDS, {"SOURCE_DATE_EPOCH": "0"})
        made.rename(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two installs at once would fetch everything twice: the second waits, and finds it there.

    No time-out of its own: whoever holds it works under those of its steps, and a dead one frees it.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(
    command: Sequence[str],
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
) -> str:
    """Standard output of ``command``; :class:`PeerMissing` with its last words when it fails."""
    shown = " ".join(command[:6])
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
            cwd=cwd,
            timeout=timeout_seconds,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PeerMissing(f"`{shown}` did not end within {timeout_seconds:.0f} s") from None
    except FileNotFoundError as error:
        raise PeerMissing(f"`{shown}`: {error}") from None
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise PeerMissing(f"`{shown}` failed ({done.returncode}):\n{last}")
    return done.stdout


def _say(words: str) -> None:
    print(f"peers: {words}", file=sys.stderr, flush=True)


def main(words: Sequence[str]) -> int:
    if list(words) not in (["install"], ["install", "bench"]):
        print("usage: python tests/interop/peers.py install [bench]", file=sys.stderr)
        return 2
    problems = install(bench="bench" in words)
    absent = missing()
    for line in problems:
        _say(line)
    if absent:
        fate = "fail" if os.environ.get("CI") else "are skipped"
        _say(f"without {', '.join(absent)}: tests that need them {fate}")
    return 1 if absent and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
