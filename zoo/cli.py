"""The command `zoo`: parses, calls one function with plain arguments, and shows what came out."""

import os
import sys

import click

from zoo import terminal
from zoo.errors import InputError, Stopped, ZooError, unknown

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
_TOP = click.option("--top", type=click.IntRange(1), help="How many labels an answer gives [5].")
_BEAM = click.option("--beam", type=click.IntRange(1), help="Of translations: the search's width; 1 is greedy [5].")
_N_BEST = click.option("--n-best", type=click.IntRange(1), help="How many translations an answer gives [1].")
_DATA_DIR = click.option("--data-dir", metavar="DIR", help="Where TFDS keeps its data [~/tensorflow_datasets].")


class _Commands(click.Group):
    """Turns whatever goes wrong into one line and an exit status."""

    def main(self, *args, **kwargs):
        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}) or 0)
        except Stopped as error:
            _fail(str(error), 128 + error.number)
        except ZooError as error:
            _fail(str(error), 1 if isinstance(error, InputError) else 2)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help())
            sys.exit(0)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted", 130)
        except BrokenPipeError:  # the reader of our output has gone, as in `zoo list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            _fail(f"{error.filename or 'the system'}: {error.strerror or error}", 2)
        except Exception as error:
            if os.environ.get("ZOO_DEBUG"):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            _fail(f"a fault of keras-zoo's own, {reason} (ZOO_DEBUG=1 shows where)", 1)

    def resolve_command(self, context, args):
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown("command", args[0], self.commands)
        return super().resolve_command(context, args)


def _fail(message: str, status: int) -> None:
    click.echo(f"zoo: {' '.join(message.split())}", err=True)
    sys.exit(status)


def _find(preset: str) -> None:
    """A mistake in a preset's name shows before TensorFlow is loaded."""
    from zoo.preset import open_preset

    open_preset(preset)
    terminal.load_tensorflow()


def _takes_text(preset: str) -> bool:
    from zoo import tasks
    from zoo.preset import open_preset

    return tasks.takes_text(open_preset(preset).record["task"]["name"])


def _settings(**options) -> dict:
    """Those that were given."""
    return {key: value for key, value in options.items() if value is not None}


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--threads", type=click.IntRange(1, 1024), help="Use at most so many threads an operation.")
@click.version_option(package_name="keras-zoo")
def main(threads: int | None) -> None:
    """The systems of the review "Deep learning" (Nature 2015), by name, with trained weights.

    \b
    Start with:  zoo demo
                 zoo list
                 zoo predict lenet5.mnist digit.png
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if threads:
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)


@main.command("list")
@click.argument("pattern", metavar="[FILTER]", required=False)
@click.option("--task", help="Only those of this task, such as image_classification.")
@click.option("--pretrained", is_flag=True, help="Only presets: models with trained weights.")
@_JSON
def list_command(pattern, task, pretrained, as_json) -> None:
    """List models and presets. FILTER is a part of a name, or a pattern such as 'lenet*'."""
    from zoo import card, preset

    rows = preset.rows(pattern, task, pretrained)
    if as_json:
        return terminal.print_json(rows)
    table = []
    for row in rows:
        metrics = [f"{metric['name']} {card.figure(metric)}" for metric in card.final(row)]
        count = f"{row['parameters']:,}" if row["parameters"] else "-"
        table.append((row["name"], row["kind"], row["task"], count, "; ".join(metrics) or row.get("description", "")))
    terminal.print_table(("name", "kind", "task", "parameters", ""), table)
    return None


@main.command()
@click.argument("name")
@_JSON
def info(name, as_json) -> None:
    """Show what is known of a model or a preset."""
    from zoo import card, preset

    facts = preset.model_info(name)
    if as_json:
        return terminal.print_json(facts)
    if facts["kind"] == "preset":
        click.echo(card.card({key: value for key, value in facts.items() if key not in ("kind", "paper", "path")}))
        click.echo(f"Folder: {facts['path']}")
    else:
        for key, value in facts.items():
            if value not in (None, {}, []):
                text = (
                    f"{value:,}" if isinstance(value, int) else ", ".join(value) if isinstance(value, list) else value
                )
                click.echo(f"{key + ':':13}{text}")
    return None


@main.command()
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--file", "file", metavar="PATH", help="Read inputs from a file, one a line; - is standard input.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@_TOP
@_BEAM
@_N_BEST
@_JSON
def predict(preset, inputs, file, as_csv, top, beam, n_best, as_json) -> None:
    """Answer on raw input: images; for models of signals and volumes .npy files; or folders of them; sentences.

    PRESET is a name that 'zoo list --pretrained' shows, or the path of a preset's folder, as in ./runs/mine. An input
    that can't be answered gets an error of its own, the others are still answered, and the exit status is 1.
    """
    if as_csv and as_json:
        raise click.UsageError("give one of --json and --csv")
    if not inputs and not file:
        raise click.UsageError("no input: give files or folders, or --file PATH")
    is_text = _takes_text(preset)
    items = terminal.items(inputs, file, is_text)
    _find(preset)
    from zoo import inference

    answer = inference.pipeline(preset, **_settings(top=top, beam=beam, n_best=n_best))
    rows = answer.stream(items, errors="return")
    if as_json:
        failed = terminal.json_rows(rows)
    else:
        failed = terminal.csv_rows(rows) if as_csv else terminal.text_rows(rows, is_text)
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("preset")
@click.option("--dataset", metavar="NAME", help="A TFDS name, a folder with a subfolder a class, or a file of pairs.")
@click.option("--split", help="Of the data set [the card's].")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many examples.")
@_DATA_DIR
@click.option("--record", is_flag=True, help="Write the figures into the preset and its card.")
@click.option(
    "--out", "picture", metavar="PNG", help="Draw the confusion matrix; of translations the figure by length."
)
@_BEAM
@_JSON
def evaluate(preset, dataset, split, limit, data_dir, record, picture, beam, as_json) -> None:
    """Measure a preset on a data set: by default the one, and the split, that its card names."""
    _find(preset)
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
            **_settings(beam=beam),
        )
    if as_json:
        return terminal.print_json(result)
    metrics = ", ".join(f"{key} {value:.4f}" for key, value in result["metrics"].items())
    where = f"{result['dataset']} {result['split']}, {result['examples']:,} examples, {result['seconds']:.1f} s"
    click.echo(f"{result['preset']}: {metrics} ({where})")
    return None


@main.command()
@click.argument("recipe")
@click.option("--out", required=True, metavar="DIR", help="The run's folder: preset, history, curves, TensorBoard.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override, as training.epochs=3. Repeatable."
)
@click.option("--steps", type=click.IntRange(1), help="End after so many steps of the recipe's schedule.")
@click.option(
    "--strategy", type=click.Choice(["one", "mirrored", "multi_worker"]), default="one", help="Devices [one]."
)
@click.option("--cluster", type=click.Choice(["ray"]), help="Start workers on a Ray cluster (RAY_ADDRESS, or here).")
@click.option("--workers", type=click.IntRange(1), help="On the cluster [2].")
@click.option("--gpus-per-worker", type=click.IntRange(0), help="On the cluster [0].")
@_JSON
def train(recipe, out, settings, steps, strategy, cluster, workers, gpus_per_worker, as_json) -> None:
    """Train by a recipe; the same command again continues a run that was ended on the way.

    RECIPE is the name of a preset that has one (such as lenet5.mnist), the path of a TOML file, or a model's name
    with the data to train on:

    \b
      zoo train lenet5.mnist --out runs/lenet5
      zoo train mlp --out runs/mine --set data.folder=my_photos
    """
    from zoo.training.recipe import parse_setting, read_recipe

    overrides = dict(map(parse_setting, settings))
    read_recipe(recipe, overrides)  # a mistake shows before TensorFlow is loaded
    terminal.load_tensorflow()
    from zoo import training

    with terminal.progress("training") as report:

        def each(step, total, figures):
            told = "  ".join(f"{key} {value:.4g}" for key, value in figures.items() if key not in ("step", "seconds"))
            report(step, total, told, keep="epoch" in figures)

        def warn(text):
            click.echo(f"zoo: {text}", err=True)

        preset = training.train(
            recipe, out, steps=steps, strategy=strategy, cluster=cluster, workers=workers,
            gpus_per_worker=gpus_per_worker, report=each, warn=warn, **overrides,
        )  # fmt: skip
    if preset is None:  # a worker other than the first
        return None
    facts = {"preset": str(preset.path), "name": preset.name, "metrics": preset.record["metrics"]}
    if as_json:
        return terminal.print_json(facts)
    for metric in facts["metrics"]:
        click.echo(f"{metric['name']} {metric['value']:.4f} on {metric['dataset']} {metric['split']}")
    path = preset.path if os.sep in str(preset.path) else f".{os.sep}{preset.path}"
    click.echo(f"preset written to {path}; try: zoo predict {path} INPUT")
    return None


@main.command()
@click.argument("recipe")
@click.option("--space", required=True, metavar="TOML", help="The settings to search, and their ranges.")
@click.option("--out", required=True, metavar="DIR", help="The search's folder: trials.csv, best.toml, the runs.")
@click.option("--trials", type=click.IntRange(1), default=10, help="At most so many [10].")
@click.option("--method", type=click.Choice(["bayesian", "hyperband", "random"]), default="bayesian", help="[bayesian]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override of the recipe. Repeatable.")
@_JSON
def tune(recipe, space, out, trials, method, settings, as_json) -> None:
    """Search a recipe's settings for the best validation figure; the same command again continues.

    The space is a TOML file, a line a setting:

    \b
      "training.optimizer.learning_rate" = {min = 1e-4, max = 1e-1, sampling = "log"}
      "model_overrides.dropout" = {min = 0.0, max = 0.5, step = 0.1}
      "training.batch_size" = {values = [32, 64, 128]}
    """
    from zoo.training.recipe import parse_setting, read_recipe

    overrides = dict(map(parse_setting, settings))
    read_recipe(recipe, overrides)
    terminal.load_tensorflow()
    from zoo import training

    with terminal.progress("tuning") as report:

        def each(done, total, figures):
            told = "  ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()
            )
            report(done, total, told, keep=True)

        def warn(text):
            click.echo(f"zoo: {text}", err=True)

        result = training.tune(recipe, space, out, trials=trials, method=method, report=each, warn=warn, **overrides)
    if as_json:
        return terminal.print_json(result)
    click.echo(f"best of {result['trials']} trials: {result['score']:.4f}; its recipe: {result['recipe']}")
    return None


@main.command()
@click.argument("preset")
@click.argument("out")
@click.option("--format", "format_", default="saved_model", help="saved_model [the default], onnx or litert.")
@click.option("--precision", default="float32", help="In onnx and litert: float32 [the default], float16 or int8.")
@_TOP
@_BEAM
@_N_BEST
@_JSON
def export(preset, out, format_, precision, top, beam, n_best, as_json) -> None:
    """Export a preset for TensorFlow Serving, to OUT/NAME/VERSION/, preprocessing and answers inside.

    For ONNX Runtime or LiteRT, to OUT/NAME.FORMAT/VERSION/: the model, and a runner in Python with the preprocessing.
    """
    _find(preset)
    from zoo import exporting

    with terminal.status("exporting"):
        path = exporting.export(preset, out, format_, precision, **_settings(top=top, beam=beam, n_best=n_best))
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


@main.command()
@click.argument("out")
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@_JSON
def verify(out, preset, inputs, as_json) -> None:
    """Compare an export's answers with the pipeline's, on the preset's samples or on inputs of one's own.

    OUT is the folder given to 'zoo export', or one of its versions. The exit status is 1 where an answer differs or
    an input can't be read.
    """
    items = list(terminal.items(inputs, None, _takes_text(preset)))
    _find(preset)
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


@main.command()
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
    from zoo.exporting.server import serve as run

    sys.exit(run(out, port, rest_port, tell=click.echo))


@main.command()
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--out", required=True, metavar="PICTURE", help="The picture to write: .png, .pdf or .svg.")
@click.option("--kind", help="heat, filters or layers of an image classifier, attention of a translator.")
@click.option("--label", help="The class to explain, for heat [the best answer].")
@click.option("--layer", help="Where Grad-CAM looks, for heat [the last convolution with an extent].")
@_JSON
def explain(preset, inputs, out, kind, label, layer, as_json) -> None:
    """Draw how a model comes to its answers on images or sentences, or on its own samples.

    \b
    heat       Grad-CAM and the input gradient over each image [the default]
    filters    the weights of the first layer
    layers     the feature maps of one image, layer by layer
    attention  what each word of a translation looked at [the default of translators]
    """
    items = list(terminal.items(inputs, None, _takes_text(preset)))
    _find(preset)
    from zoo import explaining

    with terminal.status("explaining"):
        rows = explaining.explain(preset, items, out, kind, label, layer, errors="return")
    terminal.explained(rows, preset, out, as_json)
    sys.exit(1 if any("error" in row for row in rows) else 0)


@main.command()
@click.argument("preset")
@click.option("--seconds", type=float, default=2.0, help="How long each batch size is measured [2].")
@click.option("--record", is_flag=True, help="Write the figures into the preset and its card.")
@_JSON
def benchmark(preset, seconds, record, as_json) -> None:
    """Time a preset's pipeline on its own samples."""
    _find(preset)
    from zoo import measuring

    with terminal.progress("measuring") as report:
        result = measuring.benchmark(preset, seconds, record, report)
    if as_json:
        return terminal.print_json(result)
    terminal.print_table(("", ""), [(key.replace("_", " "), str(value)) for key, value in result.items()])
    return None


@main.command()
@_JSON
def demo(as_json) -> None:
    """Load each bundled preset and let it answer a real sample."""
    from zoo import preset

    names = [path.name for path in sorted(preset.BUNDLED.iterdir()) if (path / "preset.json").is_file()]
    terminal.load_tensorflow()
    from zoo import demonstration

    rows = demonstration.demo(names)
    if as_json:
        return terminal.print_json(list(rows))
    for row in rows:
        click.echo(f"\n{row['preset']}  {row['input']}")
        click.echo(row["shown"])
        click.echo(f"answer: {row['answer']}   {row['milliseconds']:.1f} ms")
    return None


@main.command()
@click.option("--clear", is_flag=True, help="Remove presets from the cache.")
@click.argument("name", required=False)
@_JSON
def cache(name, clear, as_json) -> None:
    """List the downloaded presets, or --clear one or all of them."""
    from zoo import cache as cache_module

    rows = (
        cache_module.clear(name) if clear else [row for row in cache_module.contents() if name in (None, row["name"])]
    )
    if as_json:
        return terminal.print_json({"folder": str(cache_module.folder()), "cleared": clear, "presets": rows})
    for row in rows:
        click.echo(f"{'removed ' if clear else ''}{row['name']}  {row['bytes'] / 1e6:.2f} MB")
    click.echo(f"{len(rows)} {'removed from' if clear else 'in'} {cache_module.folder()}")
    return None


if __name__ == "__main__":
    main()
