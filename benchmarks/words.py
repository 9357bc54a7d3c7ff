"""Word vectors: skip-gram against gensim on the same text, settings and word list, and memory as the text grows.

    pip install -e . && python benchmarks/words.py [--rounds 3] [--epochs 5] [--words N] [--gensim-python PATH]

Every side runs in a process of its own; the sides of a row take turns, round after round. A figure is the median of the
rounds, with their range; a ratio is zoo over gensim. Text: `novels_factbook` (14.6 M words), or its first N words;
vectors of 100 numbers, window 5, sample 1e-4, the 30,000 most frequent words. gensim draws 5 negatives per pair. The
rows:

    one-core, two-cores   raw words per second of training, without the time to read the text: words of the text times
                          epochs, over the time from the first step to the last; and the figures of `zoo evaluate`
                          of both sides' vectors
    memory                peak memory of `zoo train` on the text, and on ten copies of it

With --gensim-python PATH, gensim runs in another environment.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZE, WINDOW, SAMPLE, WORDS = 100, 5, 1e-4, 30_000


def text_of(limit: int | None, copies: int, folder: Path) -> Path:
    """The text as a file of lines of 1,000 words."""
    from zoo.data.sources import open_source

    words = []
    for example in open_source("novels_factbook", "train", ("text",)).dataset.as_numpy_iterator():
        words += example["text"].decode().split()
        if limit and len(words) >= limit:
            break
    words = words[:limit]
    path = folder / f"text{copies}.txt"
    with path.open("w") as file:
        for _ in range(copies):
            for begin in range(0, len(words), 1000):
                file.write(" ".join(words[begin : begin + 1000]) + "\n")
    return path


def zoo_side(text: Path, out: Path, epochs: int, cores: int) -> dict:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import zoo

    marks = []
    zoo.train(
        "skipgram", out, data={"folder": str(text)}, model_overrides={"size": SIZE, "window": WINDOW},
        task={"sample": SAMPLE, "vocabulary_size": WORDS, "least_count": 1},
        training={"epochs": epochs, "checkpoint_seconds": 1e6},
        report=lambda step, total, row: marks.append((step, total, time.perf_counter())),
    )  # fmt: skip
    # The first step compiles: the rate is that of the steps after it.
    (first, total, begin), (last, _, end) = marks[0], marks[-1]
    share = (last - first) / total
    words = sum(len(line.split()) for line in text.open())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": words * epochs * share / (end - begin), "megabytes": peak}


def gensim_side(text: Path, out: Path, epochs: int, cores: int) -> dict:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from gensim.models import Word2Vec
    from gensim.models.word2vec import LineSentence

    lines = list(LineSentence(str(text)))  # in memory, so that reading takes no time
    model = Word2Vec(
        vector_size=SIZE, window=WINDOW, sample=SAMPLE, sg=1, negative=5, workers=cores, min_count=1, seed=1,
        max_final_vocab=None,
    )  # fmt: skip
    words = (out / "words.txt").read_text().split()  # the same list as ours
    counts = dict.fromkeys(words, 0)
    for line in lines:
        for word in line:
            if word in counts:
                counts[word] += 1
    model.build_vocab_from_freq(counts, corpus_count=len(lines))
    started = time.perf_counter()
    model.train(lines, total_examples=len(lines), total_words=sum(map(len, lines)), epochs=epochs)
    seconds = time.perf_counter() - started
    model.wv.save_word2vec_format(str(out / "gensim.bin"), binary=True)
    return {"rate": sum(map(len, lines)) * epochs / seconds}


def quality(path: Path) -> dict:
    import zoo

    if path.is_file():
        folder = path.with_suffix(".preset")
        zoo.save(zoo.load_word2vec(path), folder)
        path = folder
    return zoo.evaluate(str(path), "word_similarity", "test")["metrics"]


SIDES = {"zoo": zoo_side, "gensim": gensim_side}


def in_process(python: str, *arguments) -> dict:
    result = subprocess.run(
        [python, __file__, "--side", *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--words", type=int, help="only the first N words of the text")
    parser.add_argument("--gensim-python", default=sys.executable)
    parser.add_argument("--only", choices=["one-core", "two-cores", "memory"])
    parser.add_argument("--out", type=Path, help="write the figures into a JSON file")
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        kind, *values = arguments.side
        if kind == "quality":
            print(json.dumps(quality(Path(values[0]))))
        else:
            text, out, epochs, cores = values
            print(json.dumps(SIDES[kind](Path(text), Path(out), int(epochs), int(cores))))
        return
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        text = text_of(arguments.words, 1, folder)
        wanted = [arguments.only] if arguments.only else ["one-core", "two-cores", "memory"]
        for row in wanted:
            if row == "memory":
                runs = {1: text, 10: text_of(arguments.words, 10, folder)}
                figures[row] = {
                    f"{copies}": in_process(sys.executable, "zoo", file, folder / f"memory{copies}", 1, 2)["megabytes"]
                    for copies, file in runs.items()
                }
                print(row, figures[row], flush=True)
                continue
            cores, rates = 2 if row == "two-cores" else 1, {"zoo": [], "gensim": []}
            for turn in range(arguments.rounds):
                run = folder / f"{row}{turn}"
                rates["zoo"].append(in_process(sys.executable, "zoo", text, run, arguments.epochs, cores)["rate"])
                words = [line.split("\t")[0] for line in (run / "assets" / "words.tsv").read_text().splitlines()]
                (run / "words.txt").write_text(" ".join(words))
                python = arguments.gensim_python
                rates["gensim"].append(in_process(python, "gensim", text, run, arguments.epochs, cores)["rate"])
            medians = {side: float(np.median(values)) for side, values in rates.items()}
            figures[row] = {**rates, "ratio": medians["zoo"] / medians["gensim"]}
            print(
                row,
                {side: f"{value:,.0f}" for side, value in medians.items()},
                f"{figures[row]['ratio']:.2f}",
                flush=True,
            )
            for side, vectors in (("zoo", run), ("gensim", run / "gensim.bin")):
                figures[row][f"{side}_quality"] = in_process(sys.executable, "quality", vectors)
                print(row, side, figures[row][f"{side}_quality"], flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
