"""Skip-gram with negative sampling over segments of text: the segments, the loss, and its updates.

A segment has S words and a halo of W words on both sides, L = S + 2 W. Each of its S words predicts the words at a
distance d <= W. The dynamic window of Mikolov et al. draws the window's size between 1 and W for each word, so a pair
at distance d is used with probability (W + 1 - d) / W; here this is the pair's weight. The K negatives of a segment are
shared by its words; those of a word have the weight of k negatives for each pair of a whole window, together (W + 1) k.
"""

import keras
import numpy as np
import tensorflow as tf

PORTION = 16  # segments of one update
ROUNDED = 1024  # segments: the number of rows of a batch is rounded up to it, so that few shapes are compiled


def segments(chunks, segment: int, window: int):
    """Chunks of text -> segments, each word of a chunk in one of them.

    The words of a row that are left out move together, so that windows reach across them. Segments that follow each
    other are far apart in the result, because an update should not see the same words many times.

    Args:
        chunks: (B, C) int32 numbers of words; -1 is left out.
        segment, window: S and W.

    Returns:
        words (N, L) int32, 0 where there is none, and is_word (N, L) float32. N is a multiple of PORTION.
    """
    border = -2  # between chunks, which do not follow each other: windows do not reach from one into the next
    ids = tf.reshape(tf.pad(chunks, [[0, 0], [0, window]], constant_values=border), [-1])
    ids = tf.boolean_mask(ids, ids != -1)
    rows = tf.maximum(-(-tf.size(ids) // (segment * PORTION)), 1) * PORTION
    ids = tf.pad(ids, [[window, rows * segment + window - tf.size(ids)]], constant_values=border)
    starts = tf.reshape(tf.range(rows) * segment, [PORTION, -1])
    starts = tf.reshape(tf.transpose(starts), [-1, 1])
    words = tf.gather(ids, starts + tf.range(segment + 2 * window))
    return tf.maximum(words, 0), tf.cast(words >= 0, tf.float32)


def draw(seed, cumulative, rows, count: int):
    """Words (rows, count) int32, drawn by the cumulative distribution (V,) of the words."""
    places = tf.random.stateless_uniform([rows * count], seed)
    found = tf.searchsorted(cumulative, places, side="right")
    return tf.reshape(tf.minimum(found, tf.size(cumulative) - 1), [rows, count])


def pair_weights(is_word, window: int, negatives: int, weight: float):
    """is_word (N, L) -> the weights of all pairs, (N, S, L + K); zero where a word is missing."""
    longest = is_word.shape[1]
    segment = longest - 2 * window
    distance = np.abs(np.arange(longest) - np.arange(window, window + segment)[:, np.newaxis])
    band = np.where(distance > 0, np.maximum(window + 1 - distance, 0), 0) / window  # (S, L)
    shared = np.full((segment, negatives), (window + 1) * weight / negatives)
    columns = tf.concat([is_word, tf.ones((tf.shape(is_word)[0], negatives))], axis=1)
    whole = np.concatenate([band, shared], axis=1).astype("float32")
    return whole * (is_word[:, window : window + segment, tf.newaxis] * columns[:, tf.newaxis])


@keras.saving.register_keras_serializable("zoo")
class NegativeSampling(keras.losses.Loss):
    """The loss of Mikolov et al. 2013, equation 4, of is_word (N, L) and logits (N, S, L + K).

    The loss of a segment is the sum over its pairs, divided by the number of pairs of a segment without gaps. The
    first L logits of a word are those of the words of the segment, the others those of the negatives.

    Args:
        window: W.
        weight: k, the weight of the negatives of a pair.
    """

    def __init__(self, window: int, weight: float = 5.0, name: str = "negative_sampling"):
        super().__init__(name, reduction="mean")
        self.window, self.weight = window, weight

    def call(self, y_true, y_pred):
        negatives = y_pred.shape[2] - y_true.shape[1]
        weights = pair_weights(tf.cast(y_true, tf.float32), self.window, negatives, self.weight)
        signs = tf.where(tf.range(y_pred.shape[2]) < y_true.shape[1], -1.0, 1.0)
        losses = weights * tf.nn.softplus(tf.cast(y_pred, tf.float32) * signs)
        return tf.reduce_sum(losses, axis=(1, 2)) / pairs_of(y_pred.shape[1], self.window)

    def get_config(self):
        return {"window": self.window, "weight": self.weight, "name": self.name}


def pairs_of(segment: int, window: int) -> float:
    """The sum of the weights of the pairs of a segment without gaps."""
    return segment * (window + 1.0)


def update(model, inputs: dict, is_word, rate, window: int, weight: float):
    """Updates the vectors of a skip-gram model by plain gradient descent, PORTION segments at a time.

    An update is `rate` times the gradient of the sum over the pairs of a portion; its size does not depend on the
    number of segments of the batch.

    Returns:
        The loss and the norm of its gradient for the first portion, before the updates: () each.
    """
    words, negatives = inputs["words"], inputs["negatives"]
    more = -tf.shape(words)[0] % ROUNDED
    words, negatives, is_word = (tf.pad(value, [[0, more], [0, 0]]) for value in (words, negatives, is_word))
    portions = (tf.shape(words)[0] - more) // PORTION
    tables = [model.get_layer(name).embeddings for name in ("embedding", "context")]
    vectors, contexts, loss, norm = _updated(
        *map(tf.convert_to_tensor, tables), words, negatives, is_word, portions, rate, window, weight
    )
    for table, value in zip(tables, (vectors, contexts), strict=True):
        table.assign(value)
    return loss, norm


@tf.function(jit_compile=True, autograph=False)
def _updated(vectors, contexts, words, negatives, is_word, portions, rate, window: int, weight: float):
    """(V, D) vectors and contexts after the updates of the first `portions` portions, and loss and norm."""
    longest, count = words.shape[1], negatives.shape[1]
    segment = longest - 2 * window

    def parts(value):
        return tf.reshape(value, [-1, PORTION, value.shape[1]])

    words, negatives, is_word = parts(words), parts(negatives), parts(is_word)
    targets = tf.cast(tf.range(longest + count) < longest, tf.float32)

    def pieces(portion, vectors, contexts):
        """Rows, columns, their vectors, scores and the gradient of the scores."""
        own, mask = words[portion], is_word[portion]
        rows, columns = own[:, window : window + segment], tf.concat([own, negatives[portion]], axis=1)
        # One axis of indices: XLA gathers by two more slowly.
        v = tf.reshape(tf.gather(vectors, tf.reshape(rows, [-1])), [PORTION, segment, -1])  # (P, S, D)
        u = tf.reshape(tf.gather(contexts, tf.reshape(columns, [-1])), [PORTION, longest + count, -1])  # (P, L + K, D)
        scores = tf.matmul(v, u, transpose_b=True)
        weights = pair_weights(mask, window, count, weight)
        return rows, columns, v, u, scores, weights, weights * (targets - tf.sigmoid(scores))

    def body(portion, vectors, contexts):
        rows, columns, v, u, _, _, gradient = pieces(portion, vectors, contexts)
        gradient *= rate
        size = vectors.shape[1]
        dv, du = tf.matmul(gradient, u), tf.matmul(gradient, v, transpose_a=True)
        vectors = tf.tensor_scatter_nd_add(vectors, tf.reshape(rows, [-1, 1]), tf.reshape(dv, [-1, size]))
        contexts = tf.tensor_scatter_nd_add(contexts, tf.reshape(columns, [-1, 1]), tf.reshape(du, [-1, size]))
        return portion + 1, vectors, contexts

    _, _, v, u, scores, weights, gradient = pieces(0, vectors, contexts)
    pairs = PORTION * pairs_of(segment, window)
    loss = tf.reduce_sum(weights * tf.nn.softplus(tf.where(targets > 0, -scores, scores))) / pairs
    dv, du = tf.matmul(gradient, u), tf.matmul(gradient, v, transpose_a=True)
    norm = tf.sqrt(tf.reduce_sum(dv * dv) + tf.reduce_sum(du * du)) / pairs
    start = (tf.constant(0), vectors, contexts)
    _, vectors, contexts = tf.while_loop(lambda portion, *_: portion < portions, body, start)
    return vectors, contexts, loss, norm
