"""What several commands have in common."""

import click

from zoo import terminal

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
TOP = click.option("--top", type=click.IntRange(1), help="How many labels an answer gives [5].")
BEAM = click.option("--beam", type=click.IntRange(1, 1000), help="The search's width; 1 is greedy [5].")
N_BEST = click.option("--n-best", type=click.IntRange(1, 1000), help="How many translations an answer gives [1].")
DATA_DIR = click.option("--data-dir", metavar="DIR", help="Where TFDS keeps its data [~/tensorflow_datasets].")


def find(preset: str) -> None:
    """A mistake in a preset's name shows before TensorFlow is loaded."""
    from zoo.preset import open_preset

    open_preset(preset)
    terminal.load_tensorflow()


def takes_text(preset: str) -> bool:
    from zoo import tasks
    from zoo.preset import open_preset

    return tasks.takes_text(open_preset(preset).record["task"]["name"])


def settings_given(**options) -> dict:
    """Those that were given."""
    return {key: value for key, value in options.items() if value is not None}
