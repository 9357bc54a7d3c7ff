"""The model card and the README's table of presets, written from preset.json."""

from collections.abc import Iterable

from zoo import registry

_FRACTIONS = ("accuracy", "error_rate")  # how the names of metrics end that are fractions


def figure(metric: dict) -> str:
    """A metric as text: a fraction in per cent, other values as they are."""
    value = metric["value"]
    text = f"{100 * value:.2f} %" if metric["name"].endswith(_FRACTIONS) else f"{value:.4g}"
    return f"{text} (published, not re-measured here)" if metric.get("published") else text


def final(record: dict) -> list[dict]:
    """The final metrics: measured on a split that no choice was made on, or published with the weights."""
    return [metric for metric in record.get("metrics", []) if metric.get("final") or metric.get("published")]


def size(record: dict) -> str:
    """The size of all files of the preset together, in MB."""
    return f"{sum(facts['size'] for facts in record['files'].values()) / 1e6:.2f} MB"


def card(record: dict) -> str:
    """The text of a preset's README.md."""
    entry = registry.entries().get(record["model"]["name"])
    provenance, terms = record.get("provenance") or {}, record.get("terms") or {}
    settings = {key: value for key, value in record["task"]["settings"].items() if key not in ("labels", "augment")}
    listed = ", ".join(f"{key}={value}" for key, value in settings.items())
    overrides = record["model"]["overrides"]
    parts = [part for part in (entry.parts if entry else record.get("parts") or {}) if part in overrides]
    lines = [
        f"# {record['name']}",
        "",
        *([f"For {record['domain']}.", ""] if record.get("domain") else []),
        f"{entry.description if entry else record['model']['name']}",
        "",
        f"- Model: `{record['model']['name']}`" + _arguments(overrides, without=parts),
        *(_part_line(part, overrides[part], record) for part in parts),
        f"- Paper: {entry.paper}" if entry else "- Paper: not known here",
        f"- Task: {record['task']['name']}" + (f"; {listed}" if listed else ""),
        f"- Parameters: {record['parameters']:,} (trainable)",
        f"- Size: {size(record)}, weights stored in {record['storage']}" + _beside(record),
    ]
    if record.get("op_libraries"):
        lines.append("- Needs: tensorflow-text, whose operations TensorFlow Serving has built in")
    labels = record["task"]["settings"].get("labels")
    if labels:
        shown = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        lines.append(f"- Labels ({len(labels)}): {shown}")
    lines += ["", "## Measured", ""]
    if record.get("metrics"):
        lines += ["| metric | value | data set | split | examples |", "|---|---|---|---|---|"]
        for metric in record["metrics"]:
            where = f"{metric['dataset']} | {metric['split']} | {metric['examples']:,}"
            lines.append(f"| {metric['name']} | {figure(metric)} | {where} |")
        notes = {f"- {metric['name']}: {metric['how']}" for metric in record["metrics"] if "how" in metric}
        lines += ["", *sorted(notes)] if notes else []
    else:
        lines.append("Nothing was measured on these weights.")
    if record.get("speed"):
        speed = record["speed"]
        lines += [
            "",
            f"One item takes {speed['latency_1_ms']:.2f} ms and {speed['memory_mb']:.0f} MB of memory over "
            f"TensorFlow's own, thirty-two together {speed['latency_32_ms']:.2f} ms ({speed['hardware']}).",
        ]
    lines += ["", "## Where it comes from", ""]
    lines += [f"- {key.replace('_', ' ')}: {_text(value)}" for key, value in provenance.items()] or ["Not recorded."]
    lines += ["", "## Terms", ""]
    lines += [f"- {key}: {value}" for key, value in terms.items()] or ["Not stated."]
    return "\n".join(lines) + "\n"


def _arguments(overrides: dict, without: Iterable[str] = ()) -> str:
    return "".join(f", {key}={value}" for key, value in overrides.items() if key not in without)


def _part_line(part: str, plan: dict, record: dict) -> str:
    source = (record.get("parts") or {}).get(part)
    weights = f"the weights of `{source['preset']}`" if source else "weights of its own"
    return f"- Part `{part}`: `{plan['model']}`{_arguments(plan.get('overrides', {}))}, with {weights}"


def _beside(record: dict) -> str:
    presets = sorted({source["preset"] for source in (record.get("parts") or {}).values()})
    return f"; it needs {' and '.join(f'`{name}`' for name in presets)} beside it" if presets else ""


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)


def table(records: list[dict], link: str = "zoo/presets/{name}/README.md") -> str:
    """The table of presets: a row per preset with its first two figures, ordered by task.

    Args:
        link: of a preset, with places for its `name` and for the `anchor` of its name as a heading.
    """
    lines = ["| task | preset | measured | size |", "|---|---|---|---|"]
    for record in sorted(records, key=lambda record: (record["task"]["name"], record["name"])):
        name, measured = record["name"], "; ".join(f"{each['name']} {figure(each)}" for each in final(record)[:2])
        target = link.format(name=name, anchor=name.replace(".", ""))
        task = record["task"]["name"].replace("_", " ")
        lines.append(f"| {task} | [{name}]({target}) | {measured or 'not measured'} | {size(record)} |")
    return "\n".join(lines) + "\n"
