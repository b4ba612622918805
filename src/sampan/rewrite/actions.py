"""What a GitHub Actions runner asks of its container hook, with the images redirected.

The runner (actions/runner, ADR 1891) writes one JSON object to the hook's standard input: a command and its
arguments. It guarantees that only images of the job, its services and its container actions are changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.rewrite.rules import Rewriting, Rules


def rewrite_hook(document: object, rules: Rules) -> list[Rewriting]:
    """Redirect the images in ``document``, in place; what was changed."""
    changes = []
    for holder in _holders(document):
        image = holder.get("image")
        if isinstance(image, str) and (verdict := rules.judge(image)).changed:
            holder["image"] = verdict.after
            changes.append(verdict)
    return changes


def _holders(document: object) -> Iterator[dict[str, object]]:
    """The objects that name an image: of ``prepare_job`` and of ``run_container_step``."""
    args = document.get("args") if isinstance(document, dict) else None
    if not isinstance(args, dict):
        return
    services = args.get("services")
    found = [args, args.get("container"), args.get("jobContainer")]
    found += services if isinstance(services, list) else []
    yield from (holder for holder in found if isinstance(holder, dict))
