"""``python -m sampan.testing``: a fake registry in a process of its own, until SIGTERM or SIGINT.

    python -m sampan.testing --port 5001 --serve-dir LAYOUT --repository library/alpine --fault 'blob 502'

It prints its URL and what it holds, one line each, and then serves.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from sampan.testing.images import image, random_layer
from sampan.testing.layout import read_layout
from sampan.testing.registry import FakeRegistry
from sampan.testing.table import FAULT_TABLE

LAYER_BYTES = 400_000  # of the image that is served when no layout is given


def main() -> None:
    """Serve what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m sampan.testing", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--serve-dir", type=Path, help="an OCI image layout; without it, a small image :3")
    parser.add_argument("--repository", default="library/alpine")
    parser.add_argument("--fault", choices=[name for name, _ in FAULT_TABLE])
    asyncio.run(_serve(parser.parse_args()))


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if options.serve_dir:
        images = read_layout(options.serve_dir, options.repository)
    else:
        images = (image(options.repository, "3", layers=[random_layer(1, LAYER_BYTES)]),)
    async with FakeRegistry(host=options.host, port=options.port) as registry:
        for one in images:
            registry.add(one)
            if options.fault:
                dict(FAULT_TABLE)[options.fault](registry, one)
        print(
            registry.url, *(f"{registry.reference(one)} {one.digest}" for one in images), sep="\n", flush=True
        )
        await stop.wait()


if __name__ == "__main__":
    main()
