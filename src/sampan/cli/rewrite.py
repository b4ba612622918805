"""``sampan rewrite``: image names redirected to mirrors, given one by one, or found in files.

It guarantees that stdout is data alone (references, a document, a list, a diff or JSON), that a file which
cannot be read does not keep the others from being done, and that none is written but with ``--in-place``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from sampan.cli.command import Command, Invocation
from sampan.cli.rewrite_words import (
    echo_json,
    file_json,
    reference_json,
    tell_diff,
    tell_images,
    tell_no_rules,
    tell_problem,
    tell_summary,
)
from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.errors import SampanError, UsageError, printable
from sampan.rewrite.documents import Kind, rewrite_text
from sampan.rewrite.place import Edited
from sampan.rewrite.rules import Reason, Rewriting, Rules
from sampan.rewrite.tree import FILE_BYTES_MAX, Source, decode, encode, read, sources, write

STDIN = "-"
STDIN_NAME = "standard input"
WOULD_CHANGE = 1
BROKEN = 2
REFERENCES_MAX = 100_000  # of one call: a list, not a device that never ends
_MODES = ("check", "diff", "in_place", "list")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for, beside the references or paths."""

    check: bool
    diff: bool
    in_place: bool
    listing: bool
    as_json: bool
    kind: Kind | None

    @property
    def shows_documents(self) -> bool:
        """Whether the document itself goes to stdout."""
        return not (self.check or self.diff or self.in_place or self.listing or self.as_json)


@dataclass(frozen=True, slots=True)
class Looked:
    """A file and what became of its text; ``error`` instead when it could not be read or written."""

    name: str
    before: str = ""
    edited: Edited | None = None
    error: SampanError | None = None
    written: bool = False


@click.command(
    cls=Command,
    example="sampan rewrite alpine:3 ghcr.io/owner/app:1.2\n"
    "sampan rewrite --files --diff deploy/ compose.yaml Dockerfile\n"
    "sampan rewrite --files --in-place deploy/\n"
    "helm template my-chart | sampan rewrite --files - | kubectl apply -f -",
)
@click.argument("words", nargs=-1, metavar="[REFERENCE | PATH]...")
@click.option("--files", is_flag=True, help="What follows are files and directories; - is standard input.")
@click.option("--check", is_flag=True, help="Change nothing: list what would, and exit 1 if anything would.")
@click.option("--diff", is_flag=True, help="Show what would change, as a unified diff.")
@click.option("--in-place", is_flag=True, help="Write the files, each whole or not at all.")
@click.option("--list", "listing", is_flag=True, help="List the images that files name, as they stand.")
@click.option("--as", "kind", metavar="KIND", help=f"What named files are: {', '.join(Kind)}.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def command(
    invocation: Invocation,
    words: tuple[str, ...],
    files: bool,
    check: bool,
    diff: bool,
    in_place: bool,
    listing: bool,
    kind: str | None,
    as_json: bool,
) -> int:
    """Redirect image names to the mirrors of the configuration.

    Every REFERENCE is printed as it becomes, one a line; - reads them from standard input. With --files,
    images are found in Kubernetes YAML, compose files, Dockerfiles, GitHub and GitLab CI files, and only
    their values change. One file, or standard input, is printed with its images rewritten.
    """
    options = Options(check, diff, in_place, listing, as_json, _kind(kind))
    files = files or listing or diff or in_place or kind is not None
    _refuse_what_excludes_itself(words, options, files=files)
    config = Config.load(invocation.config)
    rules = rewriter(config)
    if not rules and not listing:
        tell_no_rules(config)
    return _rewrite_files(words, config, rules, options) if files else _rewrite_words(words, rules, options)


def _refuse_what_excludes_itself(words: tuple[str, ...], options: Options, *, files: bool) -> None:
    if not words:
        raise UsageError(
            "nothing to rewrite",
            hint="sampan rewrite alpine:3, or sampan rewrite --files PATH; - is standard input",
        )
    if options.listing and (options.check or options.diff or options.in_place):
        raise UsageError("--list shows what there is, and changes nothing", hint="use it alone")
    if options.check and options.in_place:
        raise UsageError("--check and --in-place exclude each other", hint="use one of the two")
    if files and options.in_place and STDIN in words:
        raise UsageError("standard input cannot be written in place", hint="leave out --in-place")
    if files and options.shows_documents and (len(words) > 1 or Path(words[0]).is_dir()):
        raise UsageError(
            "several files cannot be printed as one",
            hint="add --check, --diff, --in-place or --list, or name one file",
        )


def _kind(text: str | None) -> Kind | None:
    if text is None:
        return None
    try:
        return Kind(text)
    except ValueError:
        hint = f"one of {', '.join(Kind)}"
        raise UsageError(f"--as: no such kind: {printable(text, characters_max=40)}", hint=hint) from None


# -- references -----------------------------------------------------------------------------------


def _rewrite_words(words: tuple[str, ...], rules: Rules, options: Options) -> int:
    rewritings = [rules.judge(word) for word in _references(words)]
    if options.as_json:
        echo_json({"references": [reference_json(rewriting) for rewriting in rewritings]})
    else:
        for rewriting in rewritings:
            if not options.check or rewriting.changed:
                click.echo(rewriting.after)
    broken = [rewriting for rewriting in rewritings if _is_broken(rewriting)]
    for rewriting in broken:
        tell_problem(rewriting.error or UsageError("it is empty"))
    if broken:
        return BROKEN
    return WOULD_CHANGE if options.check and any(r.changed for r in rewritings) else 0


def _references(words: tuple[str, ...]) -> Iterator[str]:
    """The words, and the lines of standard input in the place of a ``-``; comments and empty lines aside."""
    count = 0
    for word in words:
        for reference in _lines() if word == STDIN else (word,):
            count += 1
            if count > REFERENCES_MAX:
                raise UsageError(f"more than {REFERENCES_MAX} references", hint="rewrite them in parts")
            yield reference


def _lines() -> Iterator[str]:
    for line in _standard_input(None).splitlines():
        reference = line.strip()
        if reference and not reference.startswith("#"):
            yield reference


def _is_broken(rewriting: Rewriting) -> bool:
    return rewriting.reason is Reason.INVALID


# -- files ----------------------------------------------------------------------------------------


def _rewrite_files(words: tuple[str, ...], config: Config, rules: Rules, options: Options) -> int:
    looked: list[Looked] = []
    for source in _sources(words, options.kind):
        one = _look(source, config, rules, options)
        looked.append(one)
        if one.error is not None:
            tell_problem(one.error, one.name)
        elif one.edited is not None and not options.as_json:
            _show(one, one.edited, options)
    if options.as_json:
        echo_json({"files": [file_json(one.name, one.edited, one.error, one.written) for one in looked]})
    if not options.shows_documents or any(one.error for one in looked):
        tell_summary([one.edited for one in looked], in_place=options.in_place, listing=options.listing)
    if any(one.error for one in looked):
        return BROKEN
    changes = any(one.edited and one.edited.changes for one in looked)
    return WOULD_CHANGE if options.check and changes else 0


def _sources(words: tuple[str, ...], kind: Kind | None) -> Iterator[Source | None]:
    """The files in the order of the words; None is standard input."""
    paths = [Path(word) for word in words if word != STDIN]
    if STDIN in words:
        yield None
    yield from sources(paths, kind)


def _look(source: Source | None, config: Config, rules: Rules, options: Options) -> Looked:
    name = STDIN_NAME if source is None else str(source.path)
    try:
        kind = options.kind if source is None else source.kind
        text = _standard_input(kind) if source is None else read(source.path, kind)
        edited = rewrite_text(text, rules, kind, config.rewrite.fields)
        written = source is not None and options.in_place and bool(edited.changes)
        if source is not None and written:
            write(source.path, edited.text)
    except (SampanError, RecursionError) as error:
        wrong = error if isinstance(error, SampanError) else UsageError("it is nested without end")
        return Looked(name, error=wrong)
    return Looked(name, text, edited, written=written)


def _show(one: Looked, edited: Edited, options: Options) -> None:
    if options.shows_documents:
        sys.stdout.buffer.write(encode(edited.text))
        sys.stdout.buffer.flush()
    elif options.listing:
        tell_images(one.name, edited)
    elif options.diff:
        tell_diff(one.name, one.before, edited)
    else:
        tell_images(one.name, edited, changes_alone=True)


def _standard_input(kind: Kind | None) -> str:
    return decode(sys.stdin.buffer.read(FILE_BYTES_MAX + 1), kind)
