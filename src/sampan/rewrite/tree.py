"""Files with images in them: found below directories, read, and put back whole or not at all.

Guarantees that a file is what it was or what it was to be, with its mode, and that a link is not replaced by
a file. Below a directory only names that can be such a document are looked at, and no link is followed.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.errors import InvalidDocument, UsageError, printable
from sampan.rewrite.documents import Kind

FILE_BYTES_MAX = 32 * 1024 * 1024  # a cluster's whole backup
FILES_MAX = 200_000  # below the paths of one call: more is not a tree of manifests
# Nobody writes manifests there: what version control, builds and package managers keep.
SKIPPED = frozenset(
    {
        ".cache",
        ".direnv",
        ".git",
        ".hg",
        ".idea",
        ".jj",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".svn",
        ".terraform",
        ".tox",
        ".venv",
        "__pycache__",
        "node_modules",
    }
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DOCKERFILE = re.compile(
    r"(?:(?:dockerfile|containerfile)(?:[.-].+)?|.+\.(?:dockerfile|containerfile))", re.IGNORECASE
)
_NO_DOCKERFILE = (".dockerignore", ".md", ".txt", ".sh", ".py", ".yml", ".yaml", ".json", ".orig", "~")
_COMPOSE = re.compile(r"(?:.+[.-])?compose(?:[.-].+)?\.ya?ml")
_KUSTOMIZATION = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_GITLAB = re.compile(r".*\.gitlab-ci\.ya?ml")
_ACTION = frozenset({"action.yml", "action.yaml"})


@dataclass(frozen=True, slots=True)
class Source:
    """A file to look into. ``kind`` None: its content says."""

    path: Path
    kind: Kind | None


def sources(paths: Iterable[Path], kind: Kind | None = None) -> Iterator[Source]:
    """The files that ``paths`` mean, each once: themselves, or what lies below, sorted by name.

    ``kind`` is what named files are, whatever their names. Raises :class:`UsageError` when there is no such
    path, or too much below.
    """
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise UsageError(
                f"no such file or directory: {printable(str(path))}",
                hint="name a file, or a directory to look into",
            )
        found = _below(path) if path.is_dir() else iter((Source(path, kind or kind_of(path)),))
        for source in found:
            if source.path not in seen:
                seen.add(source.path)
                yield source
            if len(seen) > FILES_MAX:
                raise UsageError(f"more than {FILES_MAX} files", hint="name the directories with manifests")


def kind_of(path: Path) -> Kind | None:
    """What the name of a file says: of ``YAML`` nothing more; None when it says nothing at all."""
    name = path.name
    if _DOCKERFILE.fullmatch(name) and not name.lower().endswith(_NO_DOCKERFILE):
        return Kind.DOCKERFILE
    if name in _KUSTOMIZATION:
        return Kind.KUSTOMIZATION
    if not name.endswith((".yml", ".yaml")):
        return None
    folders = path.resolve().parent.parts
    if folders[-2:] == (".github", "workflows") or name in _ACTION:
        return Kind.GITHUB
    if _GITLAB.fullmatch(name) or ".gitlab" in folders[-3:]:
        return Kind.GITLAB
    return Kind.COMPOSE if _COMPOSE.fullmatch(name) else Kind.YAML


def read(path: Path, kind: Kind | None) -> str:
    """The text of a file, its line ends and byte order mark as they are.

    Raises :class:`UsageError` when it cannot be read, :class:`InvalidDocument` when it is not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"cannot read it: {(error.strerror or str(error)).lower()}") from error
    return decode(data, kind)


def decode(data: bytes, kind: Kind | None) -> str:
    """``data`` as text that :func:`encode` gives back to the byte. Raises :class:`InvalidDocument`."""
    if len(data) > FILE_BYTES_MAX:
        raise InvalidDocument(f"expected at most {FILE_BYTES_MAX} bytes, got more", line=1)
    if data.startswith(_UTF16):
        raise InvalidDocument("expected UTF-8, got UTF-16", line=1, hint="save the file as UTF-8")
    if kind is Kind.DOCKERFILE:  # whose comments may be in any encoding
        return data.decode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidDocument(
            f"expected UTF-8, got the byte 0x{data[error.start]:02x}",
            line=line,
            hint="save the file as UTF-8",
        ) from error


def encode(text: str) -> bytes:
    """The bytes of what :func:`decode` gave."""
    return text.encode("utf-8", "surrogateescape")


def write(path: Path, text: str) -> None:
    """Put ``text`` in the place of what is at ``path``, at once; its mode and owner stay.

    Raises :class:`UsageError` when it cannot be written; the file is then as it was.
    """
    try:
        _replace(Path(os.path.realpath(path)), encode(text))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot write it: {reason}", hint="the file is as it was") from error


def _replace(path: Path, data: bytes) -> None:
    before = path.stat()
    descriptor, new = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            with contextlib.suppress(PermissionError):  # only root may give a file away
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, before.st_mode & 0o7777)
            file.flush()
            os.fsync(descriptor)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def _below(top: Path) -> Iterator[Source]:
    for folder, folders, files in os.walk(top):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _is_skipped(here, name))
        for name in sorted(files):
            path = here / name
            if path.is_symlink() or not path.is_file():
                continue
            kind = kind_of(path)
            if kind is not None or _is_manifest_in_json(path):
                yield Source(path, kind or Kind.YAML)


def _is_skipped(folder: Path, name: str) -> bool:
    """A chart's templates are not YAML until they are rendered; a virtual environment is not ours."""
    if name in SKIPPED or (folder / name / "pyvenv.cfg").exists():
        return True
    return name == "templates" and (folder / "Chart.yaml").exists()


def _is_manifest_in_json(path: Path) -> bool:
    """JSON is YAML, but most of it is something else."""
    if path.suffix != ".json":
        return False
    try:
        with path.open("rb") as file:
            return b'"apiVersion"' in file.read(FILE_BYTES_MAX)
    except OSError:
        return False
