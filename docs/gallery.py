"""Draws the gallery of the documentation: what each bundled preset answers to its sample, and the explanation.

python docs/gallery.py [PRESET ...]

It writes docs/pages/gallery.md and a WebP picture for each preset. With names, it draws only those presets anew.
"""

import html
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

import zoo
from zoo import preset as presets
from zoo.errors import ZooError
from zoo.preset import card

PAGES = Path(__file__).parent / "pages"
FACTS = PAGES / "gallery" / "facts.json"  # of the presets that are not drawn anew
INTRODUCTION = """Each bundled preset answers its own samples. `python docs/gallery.py` writes this page: the picture is
that of `zoo explain`, the time is that of one item in Python on two cores."""
WIDTH, QUALITY = 1000, 72
SHOWN = 2  # samples of a preset, at most
RUNS = 9  # whose median is the latency
TITLES = {
    "image_classification": "Images", "detection": "Objects", "segmentation": "Pictures of brain tissue",
    "verification": "Faces", "captioning": "Captions", "audio_classification": "Sounds",
    "speech_recognition": "Speech", "frame_classification": "Frames of speech", "translation": "Translation",
    "language_modeling": "Language", "word_embedding": "Words", "text_classification": "Texts",
    "question_answering": "Questions about stories", "sequence_transduction": "Sequences",
}  # fmt: skip


def facts_of(preset: presets.Preset) -> dict:
    """Draws the explanation of a preset's samples; returns what the page says about it."""
    answer = zoo.pipeline(preset.name)
    task = answer.task
    files = [preset.file(sample["input"]) for sample in preset.record["samples"]][:SHOWN]
    items = [task.sample(file) for file in files]
    said = [task.summary(row) for row in answer(items)]
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        answer(items[0])
        times.append(1e3 * (time.perf_counter() - started))
    size = explain(preset.name, items)
    if task.name == "verification":  # an answer is a list of numbers
        [pair] = answer.compare(items)
        said = ["", f"{'the same person' if pair['same'] else 'different people'}, distance {pair['distance']:.2f}"]
    asked = [str(task.preview(item)) if file.suffix in (".txt", ".json") else file.name
             for item, file in zip(items, files, strict=True)]  # fmt: skip
    return {
        "task": task.name, "answers": [list(each) for each in zip(asked, said, strict=True)],
        "milliseconds": round(statistics.median(times), 2), "size": size,
    }  # fmt: skip


def explain(name: str, items: list) -> list[int] | None:
    """Draws a picture; returns its width and height, or None if the preset can't be explained."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "explanation.png"
        try:
            zoo.explain(name, items, picture)
        except ZooError:  # such as a translator without attention
            return None
        image = Image.open(picture).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.LANCZOS)
    image.save(PAGES / "gallery" / f"{name}.webp", quality=QUALITY, method=6)
    return list(image.size)


def escaped(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("*", "\\*").replace("_", "\\_")


def section(name: str, facts: dict) -> list[str]:
    record = presets.open_preset(name).record
    figures = "; ".join(f"{each['name']} {card.figure(each)}" for each in card.final(record)[:2])
    width, height = facts["size"] or (0, 0)
    attributes = f'{{ width="{width}" height="{height}" loading=lazy }}'
    picture = [f"![What zoo explain draws for {name}](gallery/{name}.webp){attributes}", ""] if width else []
    return [
        f"### {name}", "",
        f"For {record['domain']}. " if record.get("domain") else "",
        *picture,
        *(f"- `{' '.join(asked.split())}` {'→ ' * bool(said)}{escaped(said)}" for asked, said in facts["answers"]), "",
        f"{figures or 'Not measured'} · {card.size(record)} · {facts['milliseconds']} ms · "
        f"[card](presets.md#{name.replace('.', '')})", "",
    ]  # fmt: skip


def main(names: list[str]) -> None:
    (PAGES / "gallery").mkdir(parents=True, exist_ok=True)
    known = json.loads(FACTS.read_text(encoding="utf-8")) if FACTS.exists() else {}
    bundled = sorted(path.name for path in presets.BUNDLED.iterdir() if path.is_dir())
    for name in names or bundled:
        known[name] = facts_of(presets.open_preset(name))
        FACTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{name}: {known[name]['answers'][-1][1][:100]}", flush=True)
    known = {name: known[name] for name in bundled if name in known}
    FACTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["# Gallery", "", INTRODUCTION, ""]
    for task, title in TITLES.items():
        own = [name for name, facts in known.items() if facts["task"] == task]
        lines += [f"## {title}", "", *(line for name in own for line in section(name, known[name]))] if own else []
    (PAGES / "gallery.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
