"""The commands `train` and `tune`."""

import contextlib
import os

import click

from zoo import terminal
from zoo.commands.options import JSON
from zoo.errors import ZooError


@click.command()
@click.argument("recipe")
@click.option("--out", required=True, metavar="DIR", help="The run's folder: preset, history, curves, TensorBoard.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key, such as training.epochs=3. Repeatable."
)
@click.option("--steps", type=click.IntRange(1), metavar="N", help="End after N steps; a later call continues.")
@click.option(
    "--strategy", type=click.Choice(["one", "mirrored", "multi_worker"]), default="one", help="Devices [one]."
)
@click.option("--cluster", type=click.Choice(["ray"]), help="Start workers on a Ray cluster (RAY_ADDRESS, or here).")
@click.option("--workers", type=click.IntRange(1), help="Number of workers on the cluster [2].")
@click.option("--gpus-per-worker", type=click.IntRange(0), help="GPUs of each worker on the cluster [0].")
@JSON
def train(recipe, out, settings, steps, strategy, cluster, workers, gpus_per_worker, as_json) -> None:
    """Train by a recipe; the same command continues an interrupted run.

    RECIPE is the name of a preset that has a recipe, such as lenet5.mnist; the path of a TOML file; or the name of a
    model, together with the data to train on:

    \b
      zoo train lenet5.mnist --out runs/lenet5
      zoo train mlp --out runs/mine --set data.folder=my_photos
    """
    from zoo.training.recipe import parse_setting, read_recipe

    overrides = dict(map(parse_setting, settings))
    _, read = read_recipe(recipe, overrides)  # reports mistakes before TensorFlow is loaded
    terminal.load_tensorflow()
    from zoo import training
    from zoo.training import setup

    if not as_json:
        with contextlib.suppress(ZooError):  # `train` raises it
            terminal.print_counts(setup.class_counts(read))

    with terminal.progress("training") as report:

        def each(step, total, figures):
            if "stages" in figures:
                return report(step, None, f"stage {figures['stage']} of {figures['stages']}", keep=True)
            text = "  ".join(f"{key} {value:.4g}" for key, value in figures.items() if key not in ("step", "seconds"))
            return report(step, total, text, keep="epoch" in figures)

        def warn(text):
            click.echo(f"zoo: {text}", err=True)

        preset = training.train(
            recipe, out, steps=steps, strategy=strategy, cluster=cluster, workers=workers,
            gpus_per_worker=gpus_per_worker, report=each, warn=warn, **overrides,
        )  # fmt: skip
    if preset is None:  # a worker that is not the first
        return None
    facts = {"preset": str(preset.path), "name": preset.name, "metrics": preset.record["metrics"]}
    if as_json:
        return terminal.print_json(facts)
    for metric in facts["metrics"]:
        click.echo(f"{metric['name']} {metric['value']:.4f} on {metric['dataset']} {metric['split']}")
    path = preset.path if os.sep in str(preset.path) else f".{os.sep}{preset.path}"
    click.echo(f"preset written to {path}; try: zoo predict {path} INPUT")
    return None


@click.command()
@click.argument("recipe")
@click.option("--space", required=True, metavar="TOML", help="The keys to search, and their ranges.")
@click.option("--out", required=True, metavar="DIR", help="The search's folder: trials.csv, best.toml, the runs.")
@click.option("--trials", type=click.IntRange(1), default=10, help="Most trials [10].")
@click.option("--method", type=click.Choice(["bayesian", "hyperband", "random"]), default="bayesian", help="[bayesian]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe. Repeatable.")
@JSON
def tune(recipe, space, out, trials, method, settings, as_json) -> None:
    """Search a recipe's settings for the best validation metric; the same command continues an interrupted search.

    The space is a TOML file with one line per key:

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
            text = "  ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()
            )
            report(done, total, text, keep=True)

        def warn(text):
            click.echo(f"zoo: {text}", err=True)

        result = training.tune(recipe, space, out, trials=trials, method=method, report=each, warn=warn, **overrides)
    if as_json:
        return terminal.print_json(result)
    click.echo(f"best score of {result['trials']} trials: {result['score']:.4f}, recipe: {result['recipe']}")
    return None
