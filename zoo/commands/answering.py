"""The commands `predict`, `listen`, `embed`, `explain` and `evaluate`."""

import sys

import click

from zoo import terminal
from zoo.commands.options import DATA_DIR, JSON, SET, PresetCommand, find
from zoo.errors import checked_picture

_FIELD = click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="One item of a task with several inputs, a value per input; @PATH reads it from a file.",
)


@click.command(cls=PresetCommand)
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--file", "file", metavar="PATH", help="Read inputs from a file, one per line; - is standard input.")
@_FIELD
@click.option("--out", metavar="DIR", help="The folder for answers that are files, such as masks.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--compare", is_flag=True, help="Compare each two inputs, such as two faces, instead of answering.")
@SET
@JSON
def predict(preset, inputs, file, fields, out, as_csv, compare, changes, as_json, **flags) -> None:
    """Answer on raw input: image files, .npy files, or folders of them; texts; JSON objects for several inputs.

    - reads standard input: an image or .npy file; or texts, or JSON objects, one per line.

    PRESET is a name that 'zoo list --pretrained' shows, the path of a preset's folder, such as ./runs/mine, or a .keras
    file of a model from zoo.load. An input that can't be answered gets its own error, the other inputs are still
    answered, and the exit status is 1.
    """
    if as_csv and as_json:
        raise click.UsageError("give --json or --csv, not both")
    if compare and (as_csv or out is not None):
        raise click.UsageError(f"--compare prints text or JSON: leave out {'--csv' if as_csv else '--out'}")
    if not inputs and not file and not fields:
        raise click.UsageError("no input: give INPUT, --file PATH or --field NAME=VALUE")
    lines = terminal.open_lines(file)
    before = (inputs.index("-") if "-" in inputs else len(inputs)) + bool(fields)  # rows before the first line
    task, settings = find(preset, changes, flags)
    items = terminal.items(inputs, lines, task, fields)
    from zoo import inference

    pipeline = inference.pipeline(preset, **settings)
    if compare:
        rows = pipeline.compare(items, errors="return")
        sys.exit(1 if (terminal.json_rows(rows) if as_json else terminal.compared_rows(rows, pipeline.task)) else 0)
    rows = terminal.with_blank_lines(pipeline.answers(items, errors="return"), pipeline.task, before)
    if out is not None:
        rows = terminal.with_files(rows, pipeline.task, out)
    if as_json:
        failed = terminal.json_rows(rows)
    elif as_csv:
        failed = terminal.csv_rows(rows, pipeline.task)
    else:
        failed = terminal.text_rows(rows, pipeline.task, before)
    sys.exit(1 if failed else 0)


@click.command()
@click.argument("preset")
@click.option("--file", "file", metavar="PATH", help="A sound file [the microphone].")
@click.option("--chunk", type=float, default=0.2, help="Seconds of sound that are heard at once [0.2].")
@JSON
def listen(preset, file, chunk, as_json) -> None:
    """Transcribe while sound arrives, from a microphone until Ctrl-C, or from a file.

    PRESET is a speech recogniser that carries its state from chunk to chunk, such as blstm_ctc_streaming.digits. The
    text appears as it is heard; --json prints the answer at the end.
    """
    find(preset)
    from zoo import listening

    task = listening.open_task(preset)
    shown, row = "", None
    try:
        for row in listening.answers(task, file, chunk):
            if not as_json:
                text = task.summary(row)
                click.echo(text[len(shown) :], nl=False)
                shown = text
    except KeyboardInterrupt:  # the usual end of listening to a microphone
        if file:
            raise
    if as_json:
        return terminal.print_json({"input": file, **(row or {})})
    click.echo()
    return None


@click.command(cls=PresetCommand)
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--file", "file", metavar="PATH", help="Read inputs from a file, one per line; - is standard input.")
@_FIELD
@click.option("--out", required=True, metavar="NPZ", help="The file to write: .npz with `inputs` and `embeddings`.")
@click.option("--layer", help="A layer whose output to write [the last one below the head].")
@SET
@JSON
def embed(preset, inputs, file, fields, out, layer, changes, as_json, **flags) -> None:
    """Write the embeddings of inputs: what the model computes below its head, or the output of a layer.

    OUT gets the arrays `inputs` (N,), their names, and `embeddings` (N, ...) in float32. An input that can't be read is
    left out and gets its own error; the exit status is then 1.
    """
    if not inputs and not file and not fields:
        raise click.UsageError("no input: give INPUT, --file PATH or --field NAME=VALUE")
    terminal.check_npz(out)
    lines = terminal.open_lines(file)
    task, settings = find(preset, changes, flags)
    items = terminal.items(inputs, lines, task, fields)
    from zoo import inference

    rows = inference.embed(preset, items, layer, "return", **settings)
    names, failed = terminal.write_embeddings(rows, out)
    if as_json:
        terminal.print_json({"out": out, "inputs": names, "errors": failed})
    else:
        click.echo(f"{len(names)} embeddings written to {out}")
    sys.exit(1 if failed else 0)


@click.command(cls=PresetCommand)
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@_FIELD
@click.option("--out", required=True, metavar="PICTURE", help="The picture to write: .png, .pdf or .svg.")
@click.option("--kind", help="The kind of explanation [the first kind of the model's task].")
@click.option("--label", help="The class to explain, for heat [the best answer].")
@click.option("--layer", help="Where Grad-CAM looks, for heat [the last convolution with an extent].")
@SET
@JSON
def explain(preset, inputs, fields, out, kind, label, layer, changes, as_json, **flags) -> None:
    """Draw how a model comes to its answers, for inputs or for the preset's samples.

    The kinds depend on the model's task; an unknown kind is refused with a list of the task's kinds.

    \b
    heat       Grad-CAM and the input gradient over each image
    likeness   two faces, and the parts of each that speak for the same person
    outlines   the edges of the classes of a segmentation
    filters    the weights of the first layer
    layers     the feature maps of one image, layer by layer
    map        words in the plane, near each other if their vectors are
    attention  the weights of each generated word over the words of its source
    words      the weight of each word of a text in its class
    hops       the lines of a story that each hop of a memory network reads
    memory     what a machine with a memory writes and reads at every step
    glimpses   the parts of an image that a model looks at, in their order
    posteriors the probabilities of the symbols of a sound over time
    surprise   the bits of each token of a text
    reach      how far back in a text a language model looks, as the gradient by distance
    """
    checked_picture(out, "--out")
    task, settings = find(preset, changes, flags)
    items = list(terminal.items(inputs, None, task, fields)) if inputs or fields else None
    from zoo import explaining

    with terminal.status("explaining"):
        rows = explaining.explain(preset, items, out, kind, "return", settings, label=label, layer=layer)
    terminal.explained(rows, explaining.module_of(preset, kind), preset, out, as_json)
    sys.exit(1 if any("error" in row for row in rows) else 0)


@click.command(cls=PresetCommand)
@click.argument("preset")
@click.option("--dataset", metavar="NAME", help="A TFDS name, or the path of your own files in the task's layout.")
@click.option("--split", help="Split of the data set [the card's].")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N examples.")
@click.option(
    "--skip-missing", is_flag=True, help="For a folder with a table of its files: leave out those that do not exist."
)
@DATA_DIR
@click.option("--record", is_flag=True, help="Write the metrics into the preset and its card.")
@click.option(
    "--out", "picture", metavar="PNG", help="Draw the metrics, for tasks with such a picture (confusion matrix)."
)
@SET
@JSON
def evaluate(preset, dataset, split, limit, skip_missing, data_dir, record, picture, changes, as_json, **flags) -> None:
    """Measure a preset on a data set, by default the data set and the split that its card names."""
    if picture is not None:
        checked_picture(picture, "--out")
    _, settings = find(preset, changes, flags)
    from zoo import inference

    with terminal.progress("evaluating") as report:
        result = inference.evaluate(
            preset,
            dataset,
            split,
            limit,
            data_dir,
            record=record,
            picture=picture,
            report=report,
            skip_missing=skip_missing,
            **settings,
        )
    if as_json:
        return terminal.print_json(result)
    metrics = ", ".join(f"{key} {value:.4f}" for key, value in result["metrics"].items())
    where = f"{result['dataset']} {result['split']}, {result['examples']:,} examples, {result['seconds']:.1f} s"
    click.echo(f"{result['preset']}: {metrics} ({where})")
    for name, note in result["notes"].items():
        click.echo(f"{name}: {note}")
    return None
