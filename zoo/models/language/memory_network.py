"""An end-to-end memory network: Sukhbaatar, Szlam, Weston & Fergus 2015, "End-to-end memory networks", arXiv
1503.08895, Figure 1 and section 4.1, with position encoding, temporal encoding and adjacent tying.

A hop compares the state with every line of a story, and adds the lines to the state by these weights. The defaults are
those of section 4.2 for the 20 tasks of bAbI together.

Deviations: the paper chooses the answer among all words, this model among the answers of the data. A word that the
training stories lack has no vector. The factors of the position encoding are twice those of equation 4, as in the
authors' program: with those of the equation, training does not find that two steps lead to an answer (task 16 of bAbI).

Shapes: B batch, L lines of a story, J words of a line, V vocabulary, D size of a vector, K hops.
"""

import keras
from keras import layers, ops

from zoo.registry import register_model

FIRST = 4  # the number of the first word; those before it are padding and signs


@register_model(
    task="question_answering",
    paper="Sukhbaatar et al. 2015, End-to-end memory networks, arXiv 1503.08895",
    parameters=46_000,  # on the words and answers of bAbI
    tiny={"vocabulary": 30, "classes": 5, "embedding": 8, "hops": 2, "memory": 6},
)
def memory_network(
    vocabulary: int = 180,
    classes: int = 60,
    embedding: int = 50,
    hops: int = 3,
    memory: int = 50,
    softmax: bool = True,
) -> keras.Model:
    """End-to-end memory network over the lines of a story.

    Args:
        vocabulary: the number of words. Numbers below 4 are not words; the answers come next, then the other words.
        classes: number of answers; 0 gives the state after the last hop as `embeddings`.
        embedding: the size of a vector.
        hops: how often the memory is read.
        memory: most lines of a story.
        softmax: whether the weights of the lines are a softmax. Without it they are the products themselves, with which
            training may start (section 4.2, "linear start"). The weights of the model are the same.

    Returns:
        A model {"story": (B, L, J), "line_count": (B,), "question": (B, J)} -> {"logits": (B, classes)}. The last line
        of a story comes first, and word 0 is padding. Of more than `memory` lines the first ones are read. The layer
        `memory` also gives the weights of the lines at each hop, (B, K, L).

    Raises:
        ValueError: the vocabulary is too small for the answers, or hops or memory is below 1.
    """
    if vocabulary < FIRST + classes:
        raise ValueError(f"vocabulary must be >= {FIRST + classes} for {classes} answers, got {vocabulary}")
    if hops < 1 or memory < 1:
        raise ValueError(f"hops and memory must be integers >= 1, got {hops} and {memory}")
    story = keras.Input((None, None), dtype="int32", name="story")
    line_count = keras.Input((), dtype="int32", name="line_count")
    question = keras.Input((None,), dtype="int32", name="question")
    reader = EndToEndMemory(vocabulary, classes, embedding, hops, memory, softmax, name="memory")
    output, _ = reader(story, line_count, question)
    inputs = {"story": story, "line_count": line_count, "question": question}
    return keras.Model(inputs, {"logits" if classes else "embeddings": output}, name="memory_network")


@keras.saving.register_keras_serializable("zoo")
class EndToEndMemory(layers.Layer):
    """The hops of a memory network; its arguments are those of `memory_network`.

    Words have K + 1 tables of vectors: A embeds the question and, at the first hop, the lines to compare with; C1 the
    lines that are added at the first hop and those to compare with at the second, and so on (adjacent tying). The rows
    of the answers in the last table are the output layer. The rows of the tables T are added to the line at each place.

    A line x is embedded as the sum over its words j = 1..J of l_j A_x_j, where l_j = 2 (1 - j/J) - 2 (k/D) (1 - 2j/J)
    for the number k = 1..D of a value: position encoding, equation 4. It is not computed: its product with a state u is
    the sum over the words of 2 (1 - j/J) (A u)_x_j - 2 (1 - 2j/J) (A (k/D u))_x_j, where the products A u of all words
    are computed once per story. This takes D times less work than the vectors of all words of all lines.
    """

    def __init__(self, vocabulary, classes, embedding, hops, memory, softmax, **options):
        super().__init__(**options)
        self.vocabulary, self.classes, self.embedding = vocabulary, classes, embedding
        self.hops, self.memory, self.softmax = hops, memory, softmax

    def build(self, *shapes):
        normal = keras.initializers.RandomNormal(stddev=0.1)
        names = ["A", *(f"C{hop}" for hop in range(1, self.hops + 1))]
        self.words = [self.add_weight((self.vocabulary, self.embedding), normal, name=name) for name in names]
        self.times = [self.add_weight((self.memory, self.embedding), normal, name=f"T_{name}") for name in names]

    def call(self, story, line_count, question):
        story = story[:, : self.memory]
        lines = PositionEncoded(story, self.vocabulary)
        count = ops.shape(story)[1]
        is_line = ops.arange(count, dtype="int32") < line_count[:, None]  # (B, L)
        asked = PositionEncoded(question[:, None], self.vocabulary)
        u = asked.summed(ops.ones_like(question[:, :1], dtype="float32"), self.words[0])  # (B, D)
        weights = []
        for hop in range(self.hops):
            time_in, time_out = self.times[hop][:count], self.times[hop + 1][:count]
            scores = lines.products(u, self.words[hop]) + ops.cast(ops.matmul(u, ops.transpose(time_in)), "float32")
            if self.softmax:
                scores = ops.softmax(ops.where(is_line, scores, -1e9), axis=-1)
            p = ops.where(is_line, scores, 0.0)  # (B, L)
            u = u + lines.summed(p, self.words[hop + 1]) + ops.matmul(ops.cast(p, u.dtype), time_out)
            weights.append(p)
        weights = ops.stack(weights, axis=1)  # (B, K, L)
        if not self.classes:
            return u, weights
        answers = self.words[-1][FIRST : FIRST + self.classes]
        return ops.cast(ops.matmul(u, ops.transpose(answers)), "float32"), weights

    def compute_output_spec(self, story, line_count, question):
        size, dtype = (self.classes, "float32") if self.classes else (self.embedding, self.compute_dtype)
        weights = keras.KerasTensor((story.shape[0], self.hops, None), dtype="float32")
        return keras.KerasTensor((story.shape[0], size), dtype=dtype), weights

    def get_config(self):
        names = ("vocabulary", "classes", "embedding", "hops", "memory", "softmax")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class PositionEncoded:
    """The words of lines, (B, L, J), with the factors of position encoding; see `EndToEndMemory`."""

    def __init__(self, words, vocabulary: int):
        self.shape, self.vocabulary = ops.shape(words), vocabulary
        is_word = ops.cast(words > 0, "float32")
        count = ops.maximum(ops.sum(is_word, axis=-1, keepdims=True), 1.0)
        place = ops.cumsum(is_word, axis=-1) / count  # j/J
        self.factors = 2 * ops.stack([is_word * (1 - place), is_word * (2 * place - 1)], axis=-1)  # (B, L, J, 2)
        first = ops.arange(self.shape[0], dtype="int32")[:, None, None] * vocabulary
        self.places = ops.reshape(words + first, (-1,))  # (B L J,), of each word in (B V, ...)

    def products(self, u, table):
        """States (B, D) -> their products with the lines (B, L), float32."""
        both = ops.stack([u, u * _depths(u)], axis=1)  # (B, 2, D)
        products = ops.cast(ops.matmul(both, ops.transpose(table)), "float32")  # (B, 2, V)
        products = ops.reshape(ops.transpose(products, (0, 2, 1)), (-1, 2))  # (B V, 2)
        chosen = ops.reshape(ops.take(products, self.places, axis=0), (*self.shape, 2))
        return ops.sum(chosen * self.factors, axis=(2, 3))

    def summed(self, p, table):
        """Weights (B, L), float32 -> the weighted sum of the lines (B, D)."""
        weighted = ops.reshape(p[:, :, None, None] * self.factors, (-1, 2))  # (B L J, 2)
        rows = self.shape[0] * self.vocabulary
        counts = ops.reshape(ops.segment_sum(weighted, self.places, rows), (-1, self.vocabulary, 2))
        vectors = ops.matmul(ops.cast(ops.transpose(counts, (0, 2, 1)), table.dtype), table)  # (B, 2, D)
        return vectors[:, 0] + vectors[:, 1] * _depths(vectors)


def _depths(values):
    """k/D for each value of a vector, (D,)."""
    size = values.shape[-1]
    return ops.cast(ops.arange(1, size + 1, dtype="float32") / size, values.dtype)
