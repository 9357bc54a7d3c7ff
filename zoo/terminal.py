"""What the command prints: JSON, tables, rows as they are ready, progress."""

import atexit
import contextlib
import csv
import gc
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

from zoo.errors import ZooError

SHOWN = 200  # characters of an input that an error names
LINE = 1 << 20  # bytes of a line that are looked at; more are too many for every task


def load_tensorflow() -> None:
    """Imports TensorFlow and keeps what its libraries write on standard error before they can be told not to."""
    from zoo import tasks  # noqa: F401 (its check of the backend comes first)

    if "tensorflow" in sys.modules:
        return
    # A million objects come to stay: looking for garbage among them takes a second here and another one at the end.
    gc.disable()
    atexit.register(gc.freeze)
    sys.stderr.flush()
    own = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with status("loading TensorFlow"):
            os.dup2(nowhere, 2)
            import tensorflow  # noqa: F401
    finally:
        os.dup2(own, 2)
        os.close(own)
        os.close(nowhere)
        gc.freeze()
        gc.enable()


def print_json(value) -> None:
    click.echo(json.dumps(value, ensure_ascii=_is_narrow(), indent=1))


def _is_narrow() -> bool:
    """Whether standard output takes other characters than Unicode's."""
    return not (sys.stdout.encoding or "").lower().startswith("utf")


def json_rows(rows: Iterable[dict]) -> int:
    """One array, an element a line as it is ready; returns how many failed."""
    failed, first = 0, True
    click.echo("[", nl=False)
    try:
        for row in rows:
            click.echo(("" if first else ",\n") + json.dumps(row, ensure_ascii=_is_narrow()), nl=False)
            sys.stdout.flush()
            first = False
            failed += "error" in row
    finally:
        click.echo("]")
    return failed


def csv_rows(rows: Iterable[dict]) -> int:
    writer, failed = csv.writer(sys.stdout), 0
    writer.writerow(("input", "answer", "score", "error"))
    for row in rows:
        failed += "error" in row
        writer.writerow((row["input"], *_best(row), row.get("error", "")))
    return failed


def _best(row: dict) -> tuple[str, str]:
    if "labels" in row:
        return row["labels"][0], f"{row['scores'][0]:.6f}"
    return (row["translation"], f"{row['score']:.6f}") if "translation" in row else ("", "")


def text_rows(rows: Iterable[dict], is_text: bool, before: int) -> int:
    """An answer a line. Of sentences nothing else stands there, and what failed has an empty one: lines match.

    Behind the first `before` rows come those of a file's lines, which errors of sentences name.
    """
    failed = 0
    for number, row in enumerate(rows, start=1 - before):
        if "error" in row:
            failed += 1
            _tell_error(row, f"line {number}: " if is_text and number > 0 else "")
            if is_text:
                click.echo()
        elif "translation" in row:
            click.echo(" ".join(row["translation"].splitlines()))
            for other in row["alternatives"]:
                click.echo(f"    {other['translation']}  ({other['score']:.3f})")
        else:
            told = [f"{label} {score:.1%}" for label, score in zip(row["labels"], row["scores"], strict=True)]
            click.echo(f"{row['input']}: {', '.join(told)}")
    return failed


def _tell_error(row: dict, where: str = "") -> None:
    known = row["input"] and row["input"] in row["error"]
    name = (row["input"] or "''") if len(row["input"]) <= SHOWN else row["input"][:SHOWN] + "..."
    told = where + (row["error"] if known else f"{name}: {row['error']}")
    told = "".join(letter if letter.isprintable() else "\ufffd" for letter in told)  # nothing that a terminal obeys
    click.echo(f"zoo: {told}", err=True)


def explained(rows: list[dict], preset: str, out: str, as_json: bool) -> None:
    """What zoo.explain returned, without its arrays: {"input", "label", "score", "layer" or "layers", "out"} each."""
    arrays = ("heat", "gradient", "filters", "attention")
    drawn = any("error" not in row for row in rows)
    told = []
    for row in rows:
        shown = {key: value for key, value in row.items() if key not in arrays}
        if "layers" in row:
            shown["layers"] = list(row["layers"])
        told.append(shown if "error" in row else shown | {"out": out})
    if as_json:
        return print_json(told)
    for row in told:
        if "error" in row:
            _tell_error(row)
        elif "translation" in row:
            click.echo(f"{row['input']}: {row['translation']}")
        elif "input" in row:
            click.echo(f"{row['input']}: {row['label']} {row['score']:.1%}")
    if any(row.get("layer", "") is None for row in told):
        click.echo(f"no layer of {preset} has an extent: gradients alone, no Grad-CAM")
    if drawn:
        click.echo(f"picture written to {out}")
    return None


def print_table(header: tuple[str, ...], rows: list[tuple]) -> None:
    """Columns as wide as their content; the last is cut at the terminal's edge."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header) - 1)]
    for row in [header, *rows] if any(header) else rows:
        cells = [str(cell).ljust(size) for cell, size in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, str(row[-1])])[:width].rstrip())


@contextlib.contextmanager
def progress(title: str):
    """A bar on standard error, where that is a terminal; yields report(done, total, text, keep)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task):
            return Text(f"{task.speed:.3g}/s" if task.speed else "")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[told]}"), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, told="")

        def report(done, total, told="", keep=False):
            if keep:
                console.print(told, highlight=False, soft_wrap=True)
            bar.update(task, completed=done, total=total, told="" if keep else told)

        yield report


@contextlib.contextmanager
def status(title: str):
    """A spinner on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(title):
        yield


def items(inputs: Iterable[str], file: str | None, is_text: bool = False) -> Iterator[str]:
    """The items in order: folders unfolded, then the lines of a file, read as they are needed.

    Where the items are sentences no folder is looked for, and every line counts, an empty one, too.
    """
    lines = None
    if file:
        try:
            lines = sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: SIM115 (read lazily)
        except OSError as error:
            raise ZooError(f"--file {file}: {error.strerror}") from None
        if file != "-" and not is_text and b"\0" in lines.peek(64)[:64]:
            raise ZooError(f"--file {file} is no text, an input a line: to answer on the file itself leave out --file")

    def each():
        for item in inputs:
            if is_text:
                yield item
                continue
            try:
                files = sorted(inner for inner in Path(item).iterdir() if inner.is_file() and inner.name[0] != ".")
            except (OSError, ValueError):  # no folder, or none that can be read: the pipeline says what it is
                files = []
            yield from map(str, files) if files and item else [item]
        for line in _lines(lines) if lines else ():
            text = os.fsdecode(line).removeprefix("\ufeff").strip()
            if text or is_text:
                yield text

    return each()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """A file's lines; of one that is endless only its beginning."""
    while line := file.readline(LINE):
        yield line
        while len(line) == LINE and not line.endswith(b"\n"):
            line = file.readline(LINE)
