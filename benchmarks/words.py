"""Words: skip-gram against gensim on the same text, settings and word list; an LSTM language model against PyTorch.

    pip install -e ".[benchmark]" && python benchmarks/words.py [--rounds 3] [--epochs 5] [--words N] [--only ROW]

Every side runs in a process of its own; the sides of a row take turns, round after round. A figure is the median of the
rounds; a ratio is zoo over gensim or PyTorch. Text: `novels_factbook` (14.6 M words), or its first N words; vectors of
100 numbers, window 5, sample 1e-4, the 30,000 most frequent words. gensim draws 5 negatives per pair. The language
model has the sizes of `recurrent_language_model.novels`. The rows:

    one-core, two-cores   raw words per second of skip-gram training, without the time to read the text: words of the
                          text times epochs, over the time from the first step to the last; and the figures of `zoo
                          evaluate` of both sides' vectors
    memory                peak memory of `zoo train` on the text, and on ten copies of it
    lstm-train            tokens per second, 64 rows of 35 tokens with carried state: forward, backward, clipping, Adam;
                          zoo also in bfloat16
    lstm-sample           tokens per second of one text of 200 tokens

With --gensim-python PATH and --torch-python PATH, the peers run in other environments.
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
NEGATIVES = 22  # shared by a segment of 16 words, as in the recipe
VOCABULARY, EMBEDDING, UNITS, LSTM_ROWS, SPAN, LENGTH, TEMPERATURE = 10_000, 152, 512, 64, 35, 200, 0.8


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
        "skipgram", out, data={"folder": str(text)},
        model_overrides={"size": SIZE, "window": WINDOW, "negatives": NEGATIVES},
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


def rate(call, items: int, seconds: float) -> float:
    for _ in range(2):
        call()
    done, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        call()
        done += items
    return done / (time.perf_counter() - started)


def language_model():
    import zoo

    sizes = {"embedding": EMBEDDING, "units": UNITS, "projection": EMBEDDING}
    return zoo.create_model(
        "recurrent_language_model", vocabulary=VOCABULARY, depth=1, tied="target", dropout=0.0, **sizes
    )


def lstm_train_zoo(precision: str, seconds: float) -> float:
    import keras
    import tensorflow as tf

    from zoo.tasks.losses import CrossEntropy
    from zoo.training.carried import Carried
    from zoo.training.loop import Loop
    from zoo.training.recipe import Training

    keras.config.set_dtype_policy(precision)
    model = language_model()
    model.compile(keras.optimizers.Adam(1e-3), CrossEntropy(), auto_scale_loss=False)
    model.optimizer.build(model.trainable_variables)
    settings = Training(epochs=1, batch_size=LSTM_ROWS, global_clipnorm=1.0)
    loop = Loop(model, settings, tf.distribute.get_strategy(), carried=Carried({"next_state": "state"}), rows=LSTM_ROWS)
    target, y = np.random.default_rng(1).integers(4, VOCABULARY, (2, LSTM_ROWS, SPAN)).astype("int32")
    data = tf.data.Dataset.from_tensors(({"target": target}, y, np.ones(y.shape, "float32")))
    step, inputs = loop._traced(data, LSTM_ROWS), next(iter(data))
    return rate(lambda: step(inputs, tf.constant(0.0)).numpy(), y.size, seconds)


def lstm_train_torch(precision: str, seconds: float) -> float:
    import torch
    import torch_networks

    model = torch_networks.LanguageModel(VOCABULARY, EMBEDDING, UNITS)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    target, y = torch.randint(4, VOCABULARY, (2, LSTM_ROWS, SPAN))
    state = torch.zeros(1, LSTM_ROWS, UNITS), torch.zeros(1, LSTM_ROWS, UNITS)

    def step():
        nonlocal state
        optimizer.zero_grad()
        logits, state = model(target, state)
        state = tuple(value.detach() for value in state)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return rate(step, y.numel(), seconds)


def lstm_sample_zoo(precision: str, seconds: float) -> float:
    import tensorflow as tf

    from zoo.tasks import task_of

    model = language_model()
    model.origin.assets = {"words.txt": "\n".join(f"w{number}" for number in range(VOCABULARY - 4)).encode()}
    task = task_of(model, length=LENGTH, temperature=TEMPERATURE)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def sample(prompts):
        return task.outputs(task.checked({"prompt": prompts})[0])["tokens"]

    prompt = tf.constant(["w1"])
    return rate(lambda: sample(prompt).numpy(), LENGTH, seconds)


def lstm_sample_torch(precision: str, seconds: float) -> float:
    import torch
    import torch_networks

    model = torch_networks.LanguageModel(VOCABULARY, EMBEDDING, UNITS).eval()
    state = torch.zeros(1, 1, UNITS), torch.zeros(1, 1, UNITS)

    def call():
        with torch.inference_mode():
            return model.sample(torch.tensor([[5]]), state, LENGTH, TEMPERATURE).numpy()

    return rate(call, LENGTH, seconds)


SIDES = {"zoo": zoo_side, "gensim": gensim_side}
ROWS = ("one-core", "two-cores", "memory", "lstm-train", "lstm-sample")
LSTM_SIDES = {
    "lstm-train": {"zoo": lstm_train_zoo, "zoo-bfloat16": lstm_train_zoo, "torch": lstm_train_torch},
    "lstm-sample": {"zoo": lstm_sample_zoo, "torch": lstm_sample_torch},
}
SECONDS = 8.0  # of a side of a row, for an LSTM


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
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--only", choices=ROWS)
    parser.add_argument("--out", type=Path, help="write the figures into a JSON file")
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        kind, *values = arguments.side
        if kind == "quality":
            print(json.dumps(quality(Path(values[0]))))
        elif kind in LSTM_SIDES:
            precision = "mixed_bfloat16" if values[0].endswith("bfloat16") else "float32"
            print(json.dumps(LSTM_SIDES[kind][values[0]](precision, SECONDS)))
        else:
            text, out, epochs, cores = values
            print(json.dumps(SIDES[kind](Path(text), Path(out), int(epochs), int(cores))))
        return
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for row in [arguments.only] if arguments.only else ROWS:
            if row in LSTM_SIDES:
                figures[row] = lstm(row, arguments.rounds, arguments.torch_python)
            elif row == "memory":
                figures[row] = memory(arguments, Path(folder))
            else:
                figures[row] = skipgram(row, arguments, Path(folder))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1))


def skipgram(row: str, arguments, folder: Path) -> dict:
    text = text_of(arguments.words, 1, folder)
    cores, rates = 2 if row == "two-cores" else 1, {"zoo": [], "gensim": []}
    for turn in range(arguments.rounds):
        run = folder / f"{row}{turn}"
        rates["zoo"].append(in_process(sys.executable, "zoo", text, run, arguments.epochs, cores)["rate"])
        words = [line.split("\t")[0] for line in (run / "assets" / "words.tsv").read_text().splitlines()]
        (run / "words.txt").write_text(" ".join(words))
        python = arguments.gensim_python
        rates["gensim"].append(in_process(python, "gensim", text, run, arguments.epochs, cores)["rate"])
    result = printed(row, rates, "raw words/s")
    for side, vectors in (("zoo", run), ("gensim", run / "gensim.bin")):
        result[f"{side}_quality"] = in_process(sys.executable, "quality", vectors)
        print(row, side, result[f"{side}_quality"], flush=True)
    return result


def memory(arguments, folder: Path) -> dict:
    result = {}
    for copies in (1, 10):
        text = text_of(arguments.words, copies, folder)
        result[str(copies)] = in_process(sys.executable, "zoo", text, folder / f"memory{copies}", 1, 2)["megabytes"]
    print("memory", ", ".join(f"{copies} copies {size:,.0f} MB" for copies, size in result.items()), flush=True)
    return result


def lstm(row: str, rounds: int, torch_python: str) -> dict:
    rates: dict[str, list[float]] = {side: [] for side in LSTM_SIDES[row]}
    for turn in range(rounds):
        for side in list(rates)[:: 1 if turn % 2 else -1]:
            python = torch_python if side == "torch" else sys.executable
            rates[side].append(in_process(python, row, side))
    return printed(row, rates, "tokens/s")


def printed(row: str, rates: dict[str, list[float]], unit: str) -> dict:
    """The rates of the sides, of which the last is the peer, and the ratios of their medians."""
    middle = {side: float(np.median(values)) for side, values in rates.items()}
    *own, peer = middle
    ratios = {f"{side} over {peer}": middle[side] / middle[peer] for side in own}
    texts = [f"{side} {middle[side]:,.0f} ({min(values):,.0f}-{max(values):,.0f})" for side, values in rates.items()]
    print(
        f"{row}: {', '.join(texts)} {unit};",
        ", ".join(f"{key} {value:.2f}" for key, value in ratios.items()),
        flush=True,
    )
    return {**rates, **ratios}


if __name__ == "__main__":
    main()
