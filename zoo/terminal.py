"""Input and output of the command line: items, JSON, CSV, tables, text rows, progress."""

import atexit
import base64
import contextlib
import csv
import functools
import gc
import io
import itertools
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, TextIO

import click

from zoo.errors import InputError, ZooError, checked_path, unknown
from zoo.files import whole_file

SHOWN = 200  # maximum number of characters of an input in an error message
NARROW = 20  # minimum number of characters for the last column of a table
CLASSES = 40  # maximum number of rows of a table of classes
LINE = 1 << 20  # maximum number of bytes read from a line; no task takes a longer text


def load_tensorflow() -> None:
    """Imports TensorFlow and shows a spinner meanwhile."""
    from zoo import tasks  # noqa: F401 (checks Keras's backend first)

    if "tensorflow" in sys.modules:
        return
    # The import creates a million objects that are never freed. Garbage collection of them would take a second here and
    # another at exit.
    gc.disable()
    atexit.register(gc.freeze)
    try:
        from zoo import quiet  # only here, as it imports logging, which listings do not need

        quiet.import_tensorflow(functools.partial(status, "loading TensorFlow"))
    finally:
        gc.freeze()
        gc.enable()


def print_json(value) -> None:
    click.echo(json.dumps(value, ensure_ascii=_is_narrow(), indent=1, default=_json_value))


def _json_value(value) -> list | str:
    """An array, or bytes as base64, in JSON."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value.tolist()


def _is_narrow() -> bool:
    """Whether the encoding of standard output is not a Unicode encoding."""
    return not (sys.stdout.encoding or "").lower().startswith("utf")


def with_blank_lines(rows: Iterable[dict], task, before: int) -> Iterator[dict]:
    """The rows; to a text task a blank line of a file is not an error, and its answer has no values.

    Its row has the keys of an answer, with null and empty lists, so that output rows match input lines. The first
    `before` rows answer command-line arguments, where a blank text is an error.
    """
    keys = [(key, place) for key, place in task.answer_layout.items() if key != "warning"]
    nothing = {key: None if isinstance(place, str) else [] for key, place in keys}
    for number, row in enumerate(rows, start=1 - before):
        is_blank = "error" in row and not row["input"] and task.takes_text() and number > 0
        yield {"input": "", **nothing} if is_blank else row


def with_files(rows: Iterable[dict], task, folder: str) -> Iterator[dict]:
    """Writes the values of answers that are files into a folder, and puts their paths in the place of the values.

    A file has the name of its input, and a number behind it if another input has written this name.

    Raises:
        ZooError: the answers of the task have no files, or a file can't be written.
    """
    written: set[Path] = set()
    for row in rows:
        files = {} if "error" in row else task.files(row)
        if not files and "error" not in row:
            raise ZooError(f"--out: an answer of {task.name} has no files to write: leave it out")
        for key, (suffix, content) in files.items():
            path = _free_path(Path(folder), row["input"], suffix, written)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path) as hidden:
                    hidden.write_bytes(content)
            except OSError as error:
                raise ZooError(f"--out: can't write {path}: {error.strerror}") from None
            row = {**row, key: str(path)}
        yield row


def _free_path(folder: Path, name: str, suffix: str, written: set[Path]) -> Path:
    """The path of the next file for an input; `written` are the earlier ones. stack.tif[07] becomes stack-07."""
    page = re.fullmatch(r"(.*)\[(\d+)\]", name)
    stem = f"{Path(page[1]).stem}-{page[2]}" if page else Path(name).stem
    stem = stem.strip("<>.") or "input"
    numbers = itertools.count(2)
    path = folder / f"{stem}{suffix}"
    while path in written:
        path = folder / f"{stem}-{next(numbers)}{suffix}"
    written.add(path)
    return path


def json_rows(rows: Iterable[dict]) -> int:
    """Prints a JSON array with one element per line, each as soon as it is ready; returns the number of errors."""
    failed, first = 0, True
    click.echo("[", nl=False)
    try:
        for row in rows:
            click.echo(
                ("" if first else ",\n") + json.dumps(row, ensure_ascii=_is_narrow(), default=_json_value), nl=False
            )
            sys.stdout.flush()
            first = False
            failed += "error" in row
    finally:
        click.echo("]")
    return failed


def csv_rows(rows: Iterable[dict], task) -> int:
    """Prints a header and one line per answer: input, the task's columns, error; returns the number of errors.

    If answers may have a warning, it has a column before that of the error.
    """
    columns, remarks = task.csv_columns(), [*(["warning"] if "warning" in task.answer_layout else []), "error"]
    writer, failed = csv.writer(sys.stdout), 0
    writer.writerow(("input", *columns, *remarks))
    for row in rows:
        failed += "error" in row
        values = [""] * len(columns) if "error" in row or not any(row.values()) else task.csv_values(row)
        writer.writerow((row["input"], *values, *(row.get(name, "") for name in remarks)))
    return failed


def text_rows(rows: Iterable[dict], task, before: int) -> int:
    """Prints the lines of each answer, as the task formats them; returns the number of errors.

    Text tasks print an empty line for an input that failed, so that output lines match input lines. The first `before`
    rows answer command-line arguments. Later rows answer lines of a file, and their errors name the line.
    """
    failed = 0
    for number, row in enumerate(rows, start=1 - before):
        where = f"line {number}: " if task.takes_text() and number > 0 else ""
        if not any(row.values()):  # a blank line
            click.echo()
        elif "error" in row:
            failed += 1
            _print_error(row, where)
            if task.takes_text():
                click.echo()
        else:
            for line in task.lines(row):
                click.echo(line)
            if "warning" in row:
                _print_error({**row, "error": row["warning"]}, where)
    return failed


def compared_rows(rows: Iterable[dict], task) -> int:
    """Prints a line per pair of inputs, as the task words it; returns the number of errors."""
    failed = 0
    for row in rows:
        if "error" in row:
            failed += 1
            _print_error(row)
        else:
            click.echo(f"{row['input']}, {row['other']}: {task.comparison(row)}")
    return failed


def _print_error(row: dict, where: str = "") -> None:
    name = (row["input"] or "''") if len(row["input"]) <= SHOWN else row["input"][:SHOWN] + "..."
    message = f"{where}{name}: {row['error']}"
    message = "".join(letter if letter.isprintable() else "\ufffd" for letter in message)  # no control characters
    click.echo(f"zoo: {message}", err=True)


def check_npz(out: str) -> None:
    """Raises ZooError if no .npz file can be written at `out`, before any work is done."""
    path = checked_path(out, "--out")
    if path.suffix != ".npz" or not path.parent.is_dir():
        raise ZooError(f"can't write {path}: give a .npz file in a folder that exists")


def write_embeddings(rows: Iterable[dict], out: str) -> tuple[list[str], list[dict]]:
    """Writes {"input", "embeddings"} rows as an .npz file, whole or not at all, and prints the errors of the others.

    Returns:
        The names of the inputs in the file, and the rows with an error.
    """
    import numpy as np

    names, arrays, failed = [], [], []
    for row in rows:
        if "error" in row:
            _print_error(row)
            failed.append(row)
        else:
            names.append(row["input"])
            arrays.append(row["embeddings"])
    if not names:
        raise InputError(f"no input could be read, so {out} is not written")
    try:
        with whole_file(Path(out)) as hidden, hidden.open("wb") as file:
            np.savez(file, inputs=np.array(names), embeddings=np.stack(arrays))
    except OSError as error:
        raise ZooError(f"can't write {out}: {error.strerror or error}") from None
    return names, failed


def explained(rows: list[dict], module: ModuleType, preset: str, out: str, as_json: bool) -> None:
    """Prints the result of `zoo.explain` without its arrays.

    Args:
        rows: the result of zoo.explain.
        module: the module of the kind of explanation, see zoo/explaining/__init__.py.
        preset: the preset's name on the command line.
        out: the path of the picture.
        as_json: whether to print JSON.
    """
    from zoo.explaining import printable

    is_drawn = any("error" not in row for row in rows)
    if as_json:
        arrays = getattr(module, "ARRAYS", ())
        return print_json([printable(row, arrays) | ({} if "error" in row else {"out": out}) for row in rows])
    for row in rows:
        if "error" in row:
            _print_error(row)
        elif line := module.line(row):
            click.echo(line)
        if "warning" in row:
            _print_error({**row, "error": row["warning"]})
    remark = module.remark(rows, preset) if hasattr(module, "remark") else None
    if remark:
        click.echo(remark)
    if is_drawn:
        click.echo(f"picture written to {out}")
    return None


def print_table(header: tuple[str, ...], rows: list[tuple], err: bool = False) -> None:
    """Prints a table with columns as wide as their content; lines are cut at the width of the terminal.

    If the terminal is too narrow for the last column, each row is printed as a block of lines instead.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header) - 1)]
    if sum(widths) + 2 * len(widths) + NARROW > width:
        for first, *others in rows:
            click.echo(first)
            for line in textwrap.wrap(", ".join(str(cell) for cell in others if str(cell)), max(width - 4, 10)):
                click.echo(f"    {line}")
        return
    for row in [header, *rows] if any(header) else rows:
        cells = [str(cell).ljust(size) for cell, size in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, str(row[-1])])[:width].rstrip(), err=err)


def print_counts(counts: dict[str, dict[str, int]]) -> None:
    """Prints the number of files per class and split on standard error, of at most CLASSES classes."""
    if counts:
        rows = [(label, *row.values()) for label, row in counts.items()]
        sums = ("all", *map(sum, zip(*(row[1:] for row in rows), strict=True)))
        more = [("...", *[""] * (len(sums) - 1))] if len(rows) > CLASSES else []
        print_table(("class", *next(iter(counts.values()))), [*rows[:CLASSES], *more, sums], err=True)


@contextlib.contextmanager
def progress(title: str):
    """A progress bar on standard error if it is a terminal; yields report(done, total, text, keep).

    `text` is shown beside the bar. With keep=True it is printed as a separate line, even without a terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task):
            return Text(f"{task.speed:.3g}/s" if task.speed else "")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[text]}"), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, text="")

        def report(done, total, text="", keep=False):
            if keep:
                console.print(text, highlight=False, soft_wrap=True)
            bar.update(task, completed=done, total=total, text="" if keep else text)

        yield report


@contextlib.contextmanager
def status(title: str, file: TextIO | None = None):
    """Shows a spinner on `file`, by default standard error, if it is a terminal."""
    file = file or sys.stderr
    if not file.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=file).status(title):
        yield


def open_lines(file: str | None) -> BinaryIO | None:
    """Opens the file given by `--file` ("-": standard input); raises ZooError if it can't be opened."""
    if not file:
        return None
    try:
        return sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: SIM115 (it is read while items are answered)
    except OSError as error:
        raise ZooError(f"--file {file}: {error.strerror}") from None


class _StandardInput(io.BytesIO):
    """The content of standard input as an open file, which has its name on the command line."""

    name = "-"


def items(inputs: Sequence[str], lines: BinaryIO | None, task, fields: Sequence[str] = ()) -> Iterator[str | dict]:
    """Yields the item of the fields, the inputs, and the lines of a file, which are read only when they are needed.

    If the task takes files, a folder is replaced by the files in it, and "-" is a file on standard input. For other
    tasks "-" is the lines of standard input. For text tasks every line is an item, even if it is empty; other tasks
    skip empty lines.
    """
    if [*inputs].count("-") + (lines is sys.stdin.buffer) > 1:
        raise ZooError("standard input can be read only once: give - once")
    from zoo.tasks.raw.files import files_of

    if lines and lines is not sys.stdin.buffer and not task.takes_text() and b"\0" in lines.peek(64)[:64]:
        raise ZooError(
            f"--file {lines.name} is not a text file with one input per line: to answer on the file itself, leave out "
            "--file"
        )

    def texts(file):
        for line in _lines(file):
            text = os.fsdecode(line).removeprefix("\ufeff").strip()
            if text or task.takes_text():
                yield text

    first = [item_of_fields(fields, task)] if fields else []

    def each():
        yield from first
        for item in inputs:
            if task.takes_files():
                files = [_StandardInput(sys.stdin.buffer.read())] if item == "-" else files_of(item) or [item]
                yield from (part for file in files for part in task.parts(file))
            else:
                yield from texts(sys.stdin.buffer) if item == "-" else [item]
        yield from texts(lines) if lines else ()

    return each()


def item_of_fields(fields: Iterable[str], task) -> dict | str:
    """The item that the `--field NAME=VALUE` options describe.

    For texts and numbers, the value @PATH is replaced by the content of the file; for other kinds, by its path.

    Raises:
        ZooError: an option that is not NAME=VALUE, an unknown or repeated name, or a file that can't be read.
    """
    item = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if equals and name not in task.raw_kinds:
            raise unknown("field", name, task.raw_kinds)
        if not equals or name in item:
            raise ZooError(f"--field {field!r}: give each of {', '.join(task.raw_kinds)} once, as in NAME=VALUE")
        if value.startswith("@"):
            value = value[1:]
            if task.raw_kinds[name] in ("text", "number"):
                try:
                    value = Path(value).read_text("utf-8-sig").strip()
                except UnicodeDecodeError as error:
                    what = f"byte {error.start:,} is not UTF-8; save the file in this encoding"
                    raise ZooError(f"--field {field}: {what}") from None
                except (OSError, ValueError) as error:
                    raise ZooError(f"--field {field}: {getattr(error, 'strerror', None) or error}") from None
        item[name] = value
    return next(iter(item.values())) if len(task.raw_kinds) == 1 else item


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; a line longer than LINE is cut."""
    while line := file.readline(LINE):
        yield line
        while len(line) == LINE and not line.endswith(b"\n"):
            line = file.readline(LINE)
