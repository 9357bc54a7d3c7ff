"""The commands `export`, `verify`, `serve` and `app`."""

import os
import sys

import click

from zoo import terminal
from zoo.commands.options import JSON, SET, PresetCommand, find
from zoo.errors import ZooError


@click.command(cls=PresetCommand)
@click.argument("preset")
@click.argument("out")
@click.option("--format", "format_", default="saved_model", help="saved_model, onnx, litert or a format of the task.")
@click.option("--precision", default="float32", help="For onnx and litert: float32, float16 or int8 [float32].")
@click.option("--name", help="The name of the served model [the name of the preset's folder].")
@SET
@JSON
def export(preset, out, format_, precision, name, changes, as_json, **flags) -> None:
    """Export a preset with preprocessing and answers to OUT/NAME/VERSION/, for TensorFlow Serving.

    An export for ONNX Runtime or LiteRT, in OUT/NAME.FORMAT/VERSION/, holds the model and a Python runner with the
    preprocessing. In float16 and int8 the folder is OUT/NAME.FORMAT.PRECISION/VERSION/. Word vectors have the formats
    word2vec and word2vec-binary, and projector for TensorBoard.
    """
    _, settings = find(preset, changes, flags)
    from zoo import exporting

    with terminal.status("exporting"):
        path = exporting.export(preset, out, format_, precision, name, **settings)
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
    """Compare an export's answers with the pipeline's, on inputs or on the preset's samples.

    OUT is the OUT of 'zoo export', or the folder of a version. The exit status is 1 if an answer differs or an input
    can't be read.
    """
    task, _ = find(preset)
    items = list(terminal.items(inputs, None, task))
    from zoo import exporting

    with terminal.status("comparing"):
        result = exporting.verify(out, preset, items)
    if as_json:
        terminal.print_json(result)
    else:
        for row in result["items"]:
            if row["equal"]:
                outcome = f"equal, scores within {row['difference']:.1g}" if row["difference"] else "equal"
            elif "refused" in row:
                outcome = f"not compared: {row['refused']}"
            else:
                outcome = f"DIFFERENT, pipeline: {row['pipeline']}, export: {row['export']}"
            click.echo(f"{row['input'] or repr('')}: {outcome}")
        click.echo(f"{result['export']} {'answers as' if result['equal'] else 'does not answer as'} {preset} does")
    sys.exit(0 if all(row["equal"] for row in result["items"]) else 1)


@click.command()
@click.argument("out")
@click.option("--port", type=click.IntRange(1, 65535), default=8500, help="Port of gRPC [8500].")
@click.option("--rest-port", type=click.IntRange(1, 65535), default=8501, help="Port of REST [8501].")
@click.option("--development", is_flag=True, help="Start the development server, even if TensorFlow Serving is there.")
def serve(out, port, rest_port, development) -> None:
    """Serve the exports of a folder with TensorFlow Serving, if it is installed or Docker runs.

    Otherwise a development server answers by the same protocols. ZOO_MODEL_SERVER is the path of
    tensorflow_model_server if it is not on PATH.
    """
    if not os.path.isfile(os.path.join(out, "models.config")):
        raise ZooError(f"{out} has no exports: make one with `zoo export PRESET {out}`")
    terminal.load_tensorflow()
    from zoo.exporting.running import serve as run

    sys.exit(run(out, port, rest_port, development, tell=click.echo))


@click.command()
@click.argument("presets", nargs=-1, metavar="[PRESET]...")
@click.option("--host", default="127.0.0.1", help="The address to listen at [127.0.0.1, this machine only].")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, help="The port [7860].")
def app(presets, host, port) -> None:
    """Try presets on a page in the browser, by default all bundled ones; needs pip install 'keras-zoo[app]'.

    Ctrl-C ends the page. It sends nothing to other hosts.
    """
    from zoo import preset

    names = list(presets) or preset.bundled()
    for name in names:
        preset.open_preset(name)  # an unknown one is an error before TensorFlow is loaded
    terminal.load_tensorflow()
    try:
        from zoo import app as page
    except ImportError as error:
        raise ZooError(f"zoo app needs gradio ({error}): pip install 'keras-zoo[app]'") from None
    click.echo(f"http://{host}:{port}")
    page.run(names, host, port)
