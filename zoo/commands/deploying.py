"""Exports: made, compared with the pipeline, served."""

import os
import sys

import click

from zoo import terminal
from zoo.commands.options import BEAM, JSON, N_BEST, TOP, find, settings_given, takes_text
from zoo.errors import ZooError


@click.command()
@click.argument("preset")
@click.argument("out")
@click.option("--format", "format_", default="saved_model", help="saved_model [the default], onnx or litert.")
@click.option("--precision", default="float32", help="In onnx and litert: float32 [the default], float16 or int8.")
@TOP
@BEAM
@N_BEST
@JSON
def export(preset, out, format_, precision, top, beam, n_best, as_json) -> None:
    """Export a preset for TensorFlow Serving, to OUT/NAME/VERSION/, preprocessing and answers inside.

    For ONNX Runtime or LiteRT, to OUT/NAME.FORMAT/VERSION/: the model, and a runner in Python with the preprocessing.
    """
    find(preset)
    from zoo import exporting

    with terminal.status("exporting"):
        path = exporting.export(preset, out, format_, precision, **settings_given(top=top, beam=beam, n_best=n_best))
    measured = {"metrics": exporting.metrics_of(path)} if precision != "float32" else {}
    if as_json:
        return terminal.print_json({"preset": preset, "format": format_, "path": str(path), **measured})
    click.echo(f"{preset} written to {path}")
    metrics = measured.get("metrics", {})
    if "not measured" in metrics:
        click.echo(f"no metrics were measured: {metrics['not measured']}")
    for key, before in metrics.get("before", {}).items():
        where = f"{metrics['dataset']} {metrics['split']}, {metrics['examples']:,} examples"
        click.echo(f"{key} {before:.4f} before, {metrics['after'][key]:.4f} as {precision} ({where})")
    return None


@click.command()
@click.argument("out")
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@JSON
def verify(out, preset, inputs, as_json) -> None:
    """Compare an export's answers with the pipeline's, on the preset's samples or on inputs of one's own.

    OUT is the folder given to 'zoo export', or one of its versions. The exit status is 1 where an answer differs or
    an input can't be read.
    """
    items = list(terminal.items(inputs, None, takes_text(preset)))
    find(preset)
    from zoo import exporting

    with terminal.status("comparing"):
        result = exporting.verify(out, preset, items)
    if as_json:
        terminal.print_json(result)
    else:
        for row in result["items"]:
            if row["equal"]:
                told = f"equal, scores within {row['difference']:.1g}" if row["difference"] else "equal"
            elif "refused" in row:
                told = f"not compared: {row['refused']}"
            else:
                told = f"DIFFERENT, pipeline: {row['pipeline']}, export: {row['export']}"
            click.echo(f"{row['input']}: {told}")
        click.echo(f"{result['export']} {'answers as' if result['equal'] else 'does not answer as'} {preset} does")
    sys.exit(0 if all(row["equal"] for row in result["items"]) else 1)


@click.command()
@click.argument("out")
@click.option("--port", type=click.IntRange(1, 65535), default=8500, help="Of gRPC [8500].")
@click.option("--rest-port", type=click.IntRange(1, 65535), default=8501, help="Of REST [8501].")
def serve(out, port, rest_port) -> None:
    """Serve the exports of a folder, by TensorFlow Serving where it is installed, or Docker.

    Where there is neither, a development server answers by the same protocols. ZOO_MODEL_SERVER names the program
    tensorflow_model_server where it is not on the path.
    """
    if not os.path.isfile(os.path.join(out, "models.config")):
        raise ZooError(f"{out} holds no exports: zoo export PRESET {out} makes one")
    terminal.load_tensorflow()
    from zoo.exporting.dev_server import serve as run

    sys.exit(run(out, port, rest_port, tell=click.echo))
