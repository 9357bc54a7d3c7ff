"""Options of several commands, and the flags that the task of a preset adds to a command."""

import typing

import click

from zoo import terminal
from zoo.errors import ZooError, unknown

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
DATA_DIR = click.option("--data-dir", metavar="DIR", help="The folder of TFDS's data [~/tensorflow_datasets].")
SET = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting of the task. Repeatable."
)
_PREFIX = "setting_"  # of a flag's parameter, which would otherwise be named like a parameter of the command
# A flag -> the flag of other tasks that serves the same purpose.
_LIKE = {"--top": "--n-best", "--n-best": "--top"}
_TYPES = {int: click.INT, float: click.FLOAT, bool: click.BOOL}


class PresetCommand(click.Command):
    """A command on a preset. The settings of the preset's task that are flags are options of the command.

    `--help` lists the flags of the preset that the command line names, with the preset's defaults. Without a preset it
    lists the flags of all tasks.
    """

    def parse_args(self, context, args):
        preset, flags = _flags([arg for arg in args if not arg.startswith("-")])
        own = {name for param in super().get_params(context) for name in param.opts}
        flags = context.meta[_PREFIX] = [flag for flag in flags if not own & {*flag.opts}]
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            takes = [f"{context.info_name} takes {', '.join(sorted(name for name in own if name[:2] == '--'))}"]
            if preset:
                takes.insert(0, f"{preset} takes {', '.join(flag.opts[-1] for flag in flags) or 'no flags'}")
            like = _LIKE.get(error.option_name)
            hint = f"did you mean {like}? " if any(like in flag.opts for flag in flags) else ""
            error.message = f"unknown option {error.option_name}; {hint}{', '.join(takes)}"
            error.possibilities = None
            raise

    def get_params(self, context):
        return [*super().get_params(context), *context.meta.get(_PREFIX, ())]


def _flags(words: list[str]) -> tuple[str | None, list[click.Option]]:
    """The first word that names a preset, and the flags of its task; without such a word, the flags of every task."""
    from zoo import tasks

    for word in words:
        try:
            record = _task_record(word)
        except ZooError:
            continue
        task = record["name"]
        if task not in tasks.names():
            return word, []
        settings = tasks.settings_class(task)
        stated = settings.today(record["settings"])
        return word, [_option(key, field, stated.get(key, field.default)) for key, field in settings.flags().items()]
    every = {key: field for task in tasks.names(own=True) for key, field in tasks.settings_class(task).flags().items()}
    return None, [_option(key, field, None) for key, field in every.items()]


def _task_record(name: str) -> dict:
    """The task of a preset or a .keras file, {"name", "settings"}, read without TensorFlow."""
    from zoo.preset import open_preset
    from zoo.preset.keras_files import is_keras_file, read_origin

    if not is_keras_file(name):
        return open_preset(name).record["task"]
    origin = read_origin(name)
    return {"name": origin.task, "settings": origin.settings}


def _option(name: str, field, default) -> click.Option:
    help = field.description if default is None else f"{field.description.rstrip('.')} [{default}]."
    return click.Option([_PREFIX + name, f"--{name.replace('_', '-')}"], type=_type(field.annotation), help=help)


def _type(annotation) -> click.ParamType:
    """The type of a flag's value: of `float | None` that of float, of `Literal[1, 8]` that of int."""
    kinds = typing.get_args(annotation) or (annotation,)
    kinds = {kind if isinstance(kind, type) else type(kind) for kind in kinds} - {type(None)}
    return _TYPES.get(kinds.pop(), click.STRING) if len(kinds) == 1 else click.STRING


def find(preset: str, changes: tuple[str, ...] = (), flags: dict | None = None) -> tuple[type, dict]:
    """Opens a preset and checks settings, then loads TensorFlow, so that mistakes are reported at once.

    Args:
        preset: its name or path, or the path of a .keras file.
        changes: the values of `--set`; an empty value stands for None, and "none" does in a setting that can be None.
        flags: the values of the flags that `PresetCommand` adds.

    Returns:
        The class of the preset's task, and the settings that differ from the preset's.

    Raises:
        ZooError: an unknown preset or task, or a setting that is unknown or out of its range.
    """
    from zoo import tasks
    from zoo.training.recipe import parse_setting

    record = _task_record(preset)
    changed = dict(map(parse_setting, changes))
    settings = {key.removeprefix(_PREFIX): value for key, value in (flags or {}).items() if value is not None}
    if record["name"] not in tasks.names():
        raise unknown("task", record["name"], tasks.names())
    if changed or settings:
        kind = tasks.settings_class(record["name"])
        settings = kind.from_toml(changed) | settings
        stated = {name: value for name, value in record["settings"].items() if name != "labels"}
        kind.checked(record["name"], {**kind.today(stated), **kind.today(settings)})
    terminal.load_tensorflow()
    return tasks.task_class(record["name"]), settings
