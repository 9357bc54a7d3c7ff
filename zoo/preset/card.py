"""The model card and the README's table, written from the content of preset.json."""

from zoo import registry

_SHARES = ("accuracy", "error_rate")


def figure(metric: dict) -> str:
    """A metric as people read it: a share in per cent, others as they are."""
    value = metric["value"]
    text = f"{100 * value:.2f} %" if metric["name"].endswith(_SHARES) else f"{value:.4g}"
    return f"{text} (published, not re-measured here)" if metric.get("published") else text


def final(record: dict) -> list[dict]:
    """The metrics that count: measured on a split that no choice was made on, or published with the weights."""
    return [metric for metric in record.get("metrics", []) if metric.get("final") or metric.get("published")]


def size(record: dict) -> str:
    """The preset's size in MB, all files together."""
    return f"{sum(facts['size'] for facts in record['files'].values()) / 1e6:.2f} MB"


def card(record: dict) -> str:
    """The text of a preset's README.md."""
    entry = registry.entries().get(record["model"]["name"])
    provenance, terms = record.get("provenance") or {}, record.get("terms") or {}
    settings = {key: value for key, value in record["task"]["settings"].items() if key not in ("labels", "augment")}
    lines = [
        f"# {record['name']}",
        "",
        f"{entry.description if entry else record['model']['name']}",
        "",
        f"- Model: `{record['model']['name']}`"
        + "".join(f", {key}={value}" for key, value in record["model"]["overrides"].items()),
        f"- Paper: {entry.paper}" if entry else "- Paper: not known here",
        f"- Task: {record['task']['name']}; " + ", ".join(f"{key}={value}" for key, value in settings.items()),
        f"- Parameters: {record['parameters']:,} (trainable)",
        f"- Size: {size(record)}, weights stored in {record['storage']}",
    ]
    if "assets/sentencepiece.model" in record["files"]:
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
        told = {f"- {metric['name']}: {metric['how']}" for metric in record["metrics"] if "how" in metric}
        lines += ["", *sorted(told)] if told else []
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


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)


def table(records: list[dict]) -> str:
    """The README's table of presets, a row each."""
    lines = ["| preset | paper | parameters | measured | size | terms |", "|---|---|---|---|---|---|"]
    for record in sorted(records, key=lambda record: record["name"]):
        entry = registry.entries().get(record["model"]["name"])
        measured = "; ".join(
            f"{metric['name']} {figure(metric)} ({metric['dataset']} {metric['split']}, {metric['examples']:,})"
            for metric in final(record)
        )
        terms = record.get("terms") or {}
        paper = entry.paper if entry else "not known here"
        lines.append(
            f"| `{record['name']}` | {paper} | {record['parameters']:,} | {measured or 'not measured'} "
            f"| {size(record)} | weights {terms.get('weights', 'not stated')}; data {terms.get('data', 'not stated')} |"
        )
    return "\n".join(lines) + "\n"
