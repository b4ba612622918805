"""An entry of a runtime's files as a host of ours: the same certificates, headers and checks.

Guarantees that files are those of the tree, and that what we cannot do as the runtime does it is told.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from sampan.doctor.chain.contract import Entry
from sampan.errors import ConfigError
from sampan.runtimes.place import LeadsNowhereError, below, resolve
from sampan.runtimes.tree import Tree
from sampan.upstream.host import Host
from sampan.upstream.proxies import Proxy, ProxySettings


class Hosts:
    """Makes them, of the files of ``tree``. :meth:`close` removes what it had to write for it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._stack = contextlib.ExitStack()

    def of(self, entry: Entry, **more: Any) -> Host:  # noqa: ANN401 - the fields' own types
        """``entry``, whatever its path. Raises ConfigError. A runtime dials private addresses, so it does."""
        headers = {name: value for name, value in entry.headers.items() if name.lower() != "host"}
        options: dict[str, Any] = {"headers": headers, "private": True, **more}
        if entry.scheme == "https":
            options |= {"insecure": entry.insecure, "ca": self._authorities(entry.certificates)}
            if entry.client is not None:
                certificate, key = map(self._file, entry.client)
                options |= {"client_cert": certificate, "client_key": None if key == certificate else key}
        return Host(**{"name": entry.netloc, "url": entry.base, **options})

    def looked_at(self, entry: Entry, prefix: str, proxies: ProxySettings) -> Host:
        """``entry`` to be looked at, below ``prefix`` and through the runtime's own proxies. Raises
        ConfigError."""
        name = f"{entry.netloc}/{prefix}" if prefix else entry.netloc
        role = "mirror" if entry.place is not None else "origin"
        bare = self.of(entry)
        proxy = proxies.proxy_for(bare.base)
        private = entry.place is not None or bare.base.address is not None
        url = None if proxy is None else _url(proxy)
        return self.of(entry, name=name, prefix=prefix, role=role, proxy=url, private=private)

    def close(self) -> None:
        """Nothing of it is left."""
        self._stack.close()

    def _authorities(self, paths: tuple[str, ...]) -> str | None:
        """One file of all of them."""
        if len(paths) < 2:
            return self._file(paths[0]) if paths else None
        directory = self._stack.enter_context(tempfile.TemporaryDirectory())
        made = Path(directory, "authorities.pem")
        made.write_bytes(b"\n".join(self._tree.file(path).data or b"" for path in paths))
        return str(made)

    def _file(self, path: str) -> str:
        """Where a file of the tree is on this machine."""
        try:
            return below(self._tree.root, resolve(self._tree.root, path).real)
        except (LeadsNowhereError, OSError) as error:
            raise ConfigError(f"cannot use {path}: {error}") from error


def _url(proxy: Proxy) -> str:
    login = ""
    if proxy.username is not None:
        password = "" if proxy.password is None else f":{proxy.password.reveal()}"
        login = f"{proxy.username}{password}@"
    return f"{proxy.scheme}://{login}{proxy.host}:{proxy.port}"
