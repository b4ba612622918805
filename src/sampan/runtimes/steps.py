"""What makes runtimes read their files again: the steps of a plan, run one after the other.

Guarantees a limit on the time of each, and that a step that cannot be run on this machine is known before
anything is written. What to run instead of systemd's own words comes from ``[node.commands]``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sampan.errors import ApplyFailed, NodeError
from sampan.runtimes.contract import Answer, Finding, Machine, Step
from sampan.runtimes.snapshot import RunStep
from sampan.words import listed, sentence

STEP_SECONDS_MAX = 180.0  # systemd itself gives up a start after 90 s, and a stop after 90 s
SYSTEMD = "systemctl"


@dataclass(frozen=True, slots=True)
class Steps:
    """``machine`` None: the tree is not the running machine, and nothing is run. ``commands``: by runtime.
    ``settle``: waits until a runtime, by its name, has taken notice, and says what it has not."""

    machine: Machine | None
    commands: Mapping[str, str] = field(default_factory=dict)
    has_systemd: bool = True
    settle: Callable[[str], Sequence[Finding]] = lambda _: ()

    def command(self, runtime: str, step: Step, *, back: bool = False) -> tuple[str, ...]:
        """What is run for a step, or for going ``back``: nothing, when nothing is to be reloaded."""
        own = self.commands.get(runtime)
        if own is None or not step.command:
            return step.back if back and step.back else step.command
        return tuple(shlex.split(own))

    def check(self, steps: Sequence[RunStep]) -> None:
        """Raises NodeError when one of them cannot be run here."""
        for run in steps if self.machine is not None else ():
            if self.command(run.runtime, run.step)[0] == SYSTEMD and not self.has_systemd:
                raise NodeError(
                    sentence(
                        "{runtime} must {kind}, and there is no systemd here",
                        runtime=run.runtime,
                        kind=run.step.kind,
                    ),
                    hint=sentence(
                        'say how in sampan.toml: [node.commands] {runtime} = "…", or use --no-steps',
                        runtime=run.runtime,
                    ),
                )

    def run(self, steps: Sequence[RunStep], *, back: bool = False) -> None:
        """All in order, those of a runtime until they have had their effect. Raises ApplyFailed at the first
        that fails."""
        for index, run in enumerate(steps if self.machine is not None else ()):
            command = self.command(run.runtime, run.step, back=back)
            assert self.machine is not None
            answer = self.machine.run(command, timeout_seconds=STEP_SECONDS_MAX)
            if answer.code != 0:
                raise ApplyFailed(
                    sentence(
                        "cannot {kind} {runtime}: {command}: {said}",
                        kind=run.step.kind,
                        runtime=run.runtime,
                        command=shlex.join(command),
                        said=_said(answer),
                    ),
                    hint=sentence(
                        "journalctl -u {runtime} says more, where there is systemd", runtime=run.runtime
                    ),
                )
            is_last = run.runtime not in [later.runtime for later in steps[index + 1 : index + 2]]
            if is_last and not (back and run.step.back):
                check_findings(self.settle(run.runtime))


def check_findings(findings: Sequence[Finding]) -> None:
    """Raises ApplyFailed when something among them is broken."""
    wrong = [finding for finding in findings if finding.level in ("error", "dead")]
    if wrong:
        lines = listed([listed(["\n  ", finding.place, finding.message], "") for finding in wrong], "")
        raise ApplyFailed(sentence("what was changed does not work:{lines}", lines=lines), hint=wrong[0].hint)


def _said(answer: Answer) -> str:
    code = (
        sentence("exit code {code}", code=answer.code)
        if answer.code is not None
        else sentence("not run to its end")
    )
    return f"{answer.words} ({code})" if answer.words else code
