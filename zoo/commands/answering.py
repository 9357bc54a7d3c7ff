"""Answers, why they came out so, and how good they are."""

import sys

import click

from zoo import terminal
from zoo.commands.options import BEAM, DATA_DIR, JSON, N_BEST, TOP, find, settings_given, takes_text


@click.command()
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--file", "file", metavar="PATH", help="Read inputs from a file, one a line; - is standard input.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@TOP
@BEAM
@N_BEST
@JSON
def predict(preset, inputs, file, as_csv, top, beam, n_best, as_json) -> None:
    """Answer on raw input: images; for models of signals and volumes .npy files; or folders of them; sentences.

    PRESET is a name that 'zoo list --pretrained' shows, or the path of a preset's folder, as in ./runs/mine. An input
    that can't be answered gets an error of its own, the others are still answered, and the exit status is 1.
    """
    if as_csv and as_json:
        raise click.UsageError("give one of --json and --csv")
    if as_csv and n_best and n_best > 1:
        raise click.UsageError("--csv has one answer an input: leave out --n-best, or give --json")
    if not inputs and not file:
        raise click.UsageError("no input: give files or folders, or --file PATH")
    is_text = takes_text(preset)
    items = terminal.items(inputs, file, is_text)
    find(preset)
    from zoo import inference

    answer = inference.pipeline(preset, **settings_given(top=top, beam=beam, n_best=n_best))
    rows = answer.stream(items, errors="return")
    if as_json:
        failed = terminal.json_rows(rows)
    else:
        failed = terminal.csv_rows(rows) if as_csv else terminal.text_rows(rows, is_text, len(inputs))
    sys.exit(1 if failed else 0)


@click.command()
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--out", required=True, metavar="PICTURE", help="The picture to write: .png, .pdf or .svg.")
@click.option("--kind", help="heat, filters or layers of an image classifier, attention of a translator.")
@click.option("--label", help="The class to explain, for heat [the best answer].")
@click.option("--layer", help="Where Grad-CAM looks, for heat [the last convolution with an extent].")
@JSON
def explain(preset, inputs, out, kind, label, layer, as_json) -> None:
    """Draw how a model comes to its answers on images or sentences, or on its own samples.

    \b
    heat       Grad-CAM and the input gradient over each image [the default]
    filters    the weights of the first layer
    layers     the feature maps of one image, layer by layer
    attention  what each word of a translation looked at [the default of translators]
    """
    items = list(terminal.items(inputs, None, takes_text(preset)))
    find(preset)
    from zoo import explaining

    with terminal.status("explaining"):
        rows = explaining.explain(preset, items, out, kind, label, layer, errors="return")
    terminal.explained(rows, preset, out, as_json)
    sys.exit(1 if any("error" in row for row in rows) else 0)


@click.command()
@click.argument("preset")
@click.option("--dataset", metavar="NAME", help="A TFDS name, a folder with a subfolder a class, or a file of pairs.")
@click.option("--split", help="Of the data set [the card's].")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many examples.")
@DATA_DIR
@click.option("--record", is_flag=True, help="Write the figures into the preset and its card.")
@click.option(
    "--out", "picture", metavar="PNG", help="Draw the confusion matrix; of translations the figure by length."
)
@BEAM
@JSON
def evaluate(preset, dataset, split, limit, data_dir, record, picture, beam, as_json) -> None:
    """Measure a preset on a data set: by default the one, and the split, that its card names."""
    find(preset)
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
            **settings_given(beam=beam),
        )
    if as_json:
        return terminal.print_json(result)
    metrics = ", ".join(f"{key} {value:.4f}" for key, value in result["metrics"].items())
    where = f"{result['dataset']} {result['split']}, {result['examples']:,} examples, {result['seconds']:.1f} s"
    click.echo(f"{result['preset']}: {metrics} ({where})")
    return None
