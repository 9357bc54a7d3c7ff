"""The commands `list`, `info`, `demo`, `benchmark` and `cache`."""

import click

from zoo import terminal
from zoo.commands.options import JSON, find
from zoo.errors import ZooError


@click.command("list")
@click.argument("pattern", metavar="[FILTER]", required=False)
@click.option("--task", help="Only models and presets of a task, such as image_classification.")
@click.option("--pretrained", is_flag=True, help="Only presets: models with trained weights.")
@JSON
def list_command(pattern, task, pretrained, as_json) -> None:
    """List models and presets. FILTER is a part of a name, or a pattern such as 'lenet*'."""
    from zoo import preset
    from zoo.preset import card

    rows = preset.rows(pattern, task, pretrained)
    filters = [repr(pattern)] * bool(pattern) + [f"--task {task}"] * bool(task) + ["--pretrained"] * pretrained
    if not rows and filters:
        raise ZooError(f"no model or preset matches {' and '.join(filters)}: run `zoo list` to see all")
    if as_json:
        return terminal.print_json(rows)
    table = []
    for row in rows:
        metrics = [f"{metric['name']} {card.figure(metric)}" for metric in card.final(row)]
        count = f"{row['parameters']:,}" if row["parameters"] else "-"
        table.append((row["name"], row["kind"], row["task"], count, "; ".join(metrics) or row.get("description", "")))
    terminal.print_table(("name", "kind", "task", "parameters", ""), table)
    return None


@click.command()
@click.argument("name")
@JSON
def info(name, as_json) -> None:
    """Show the facts of a model or a preset."""
    from zoo import preset
    from zoo.preset import card

    facts = preset.model_info(name)
    if as_json:
        return terminal.print_json(facts)
    if facts["kind"] == "preset":
        click.echo(card.card({key: value for key, value in facts.items() if key not in ("kind", "paper", "path")}))
        click.echo(f"Folder: {facts['path']}")
    else:
        for key, value in facts.items():
            if value not in (None, {}, []):
                text = value
                if key == "arguments":
                    text = ", ".join(f"{name}={default!r}" for name, default in value.items())
                elif isinstance(value, (int, list)):
                    text = f"{value:,}" if isinstance(value, int) else ", ".join(value)
                click.echo(f"{key + ':':13}{text}")
    return None


@click.command()
@JSON
def demo(as_json) -> None:
    """Load each bundled preset and answer a real sample."""
    from zoo import preset

    terminal.load_tensorflow()
    from zoo import demo

    rows = demo.demo(preset.bundled())
    if as_json:
        return terminal.print_json(list(rows))
    for row in rows:
        click.echo(f"\n{row['preset']}  {row['input']}")
        click.echo(row["shown"])
        click.echo(f"answer: {row['answer']}   {row['milliseconds']:.1f} ms")
    return None


@click.command()
@click.argument("preset")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--seconds", type=float, default=2.0, help="Seconds for each batch size [2].")
@click.option("--record", is_flag=True, help="Write the result into the preset and its card.")
@JSON
def benchmark(preset, inputs, seconds, record, as_json) -> None:
    """Time a preset's pipeline, on inputs or on the preset's samples."""
    task, _ = find(preset)
    items = list(terminal.items(inputs, None, task)) if inputs else None
    from zoo import timing

    with terminal.progress("measuring") as report:
        result = timing.benchmark(preset, seconds, record, report, items)
    if as_json:
        return terminal.print_json(result)
    terminal.print_table(("", ""), [(key.replace("_", " "), str(value)) for key, value in result.items()])
    return None


@click.command()
@click.option("--clear", is_flag=True, help="Remove presets from the cache.")
@click.argument("name", required=False)
@JSON
def cache(name, clear, as_json) -> None:
    """List the downloaded presets, or remove one or all of them with --clear."""
    from zoo.preset import cache as cache_module

    rows = (
        cache_module.clear(name) if clear else [row for row in cache_module.contents() if name in (None, row["name"])]
    )
    if as_json:
        return terminal.print_json({"folder": str(cache_module.folder()), "cleared": clear, "presets": rows})
    for row in rows:
        click.echo(f"{'removed ' if clear else ''}{row['name']}  {row['bytes'] / 1e6:.2f} MB")
    click.echo(f"{len(rows)} {'removed from' if clear else 'in'} {cache_module.folder()}")
    return None
