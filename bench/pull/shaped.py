"""Hosts at the ends of shaped lines, each with a registry that can be made to fail, and pulls from them.

What they send is counted on their lines, packets and all. The registries run in threads of this process;
they send files by sendfile, so that they take next to no time from the program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.pull.ground import scratch
from bench.pull.process import begun
from bench.pull.programs import Program, Pull
from bench.stock import REPOSITORY, TAG
from interop.lines import Line, Lines
from sampan.testing import FakeRegistry, Layer, ServerThread, image

RUNS_MAX = 3  # a person would not try for ever


@dataclass(frozen=True, slots=True)
class Host:
    """``fail``: the server is gone, as by a crash: connections are reset, new ones refused."""

    line: Line
    registry: FakeRegistry
    thread: ServerThread

    def fail(self) -> None:
        self.thread.call(self.registry.refuse)


@dataclass(frozen=True, slots=True)
class Pulled:
    """``runs``: how often the program had to be started; ``seconds``: of all of them together;
    ``sent_bytes``: by all hosts."""

    seconds: float
    sent_bytes: int
    runs: int


@contextlib.contextmanager
def hosts(net: Lines, layer: Layer) -> Iterator[list[Host]]:
    """At the end of every line the same image, of one layer."""
    content = image(REPOSITORY, TAG, layers=[layer])
    with contextlib.ExitStack() as stack:
        made = []
        for line in net.hosts:
            registry = FakeRegistry(host=line.address)
            registry.add(content)
            thread = stack.enter_context(line.begun(ServerThread(registry)))
            made.append(Host(line, registry, thread))
        yield made


@dataclass(frozen=True, slots=True)
class Midway:
    """What happens once the hosts have sent so many bytes."""

    after_bytes: int
    act: Callable[[], None]


def pulled(
    directory: Path, net: Lines, program: Program, asked: Sequence[Host], midway: Midway | None = None
) -> Pulled:
    """Have ``program`` pull from the hosts ``asked``, started again when it fails. One that can be told of
    one host alone is then told of the next, as a person would."""
    before, seconds, words = _sent(asked), 0.0, ""
    with scratch(directory, "pull") as home, contextlib.ExitStack() as stack:

        def ready(first: int) -> Pull:
            netlocs = [host.registry.netloc for host in (*asked[first:], *asked[:first])]
            return stack.enter_context(net.client.begun(program.ready(home, netlocs)))

        pull = ready(0)
        for number in range(RUNS_MAX):
            if number and not program.mirrors:
                pull = ready(number % len(asked))
            with net.client.inside(), begun(pull(TAG), home) as running:
                if midway is not None and running.watch(
                    partial(_have_sent, asked, before + midway.after_bytes)
                ):
                    midway.act()
                    midway = None
                ended, words = running.wait(), running.words()
            seconds += ended.seconds
            if ended.code == 0:
                return Pulled(seconds, _sent(asked) - before, number + 1)
    raise RuntimeError(f"{program.name} failed {RUNS_MAX} times:\n{words}")


def _have_sent(asked: Sequence[Host], mark_bytes: int) -> bool:
    return _sent(asked) >= mark_bytes


def _sent(asked: Sequence[Host]) -> int:
    return sum(host.line.sent_bytes for host in asked)
