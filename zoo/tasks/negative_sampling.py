"""Skip-gram with negative sampling over segments of text: the segments, the loss, and its updates.

A segment has S words and a halo of W words on both sides, L = S + 2 W. Each of its S words predicts the words at a
distance d <= W. The dynamic window of Mikolov et al. draws the window's size between 1 and W for each word, so a pair
at distance d is used with probability (W + 1 - d) / W; here this is the pair's weight. The K negatives of a segment are
shared by its words; those of a word have the weight of k negatives for each pair of a whole window, together (W + 1) k.
"""

import keras
import numpy as np
import tensorflow as tf

PORTION = 8  # segments of one update
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


def alias_table(probabilities) -> tuple[np.ndarray, np.ndarray]:
    """The table of the alias method (Vose 1991, IEEE Trans. Software Eng. 17): a draw takes the same time for any V.

    Args:
        probabilities: (V,), their sum is 1.

    Returns:
        chance (V,) float32 and other (V,) int32: a word drawn evenly stays with its chance, else it becomes `other`.
    """
    chance = np.asarray(probabilities, "float64") * len(probabilities)
    other = np.arange(len(chance), dtype="int32")
    small, large = (np.flatnonzero(is_small).tolist() for is_small in (chance < 1, chance >= 1))
    while small and large:
        less, more = small.pop(), large[-1]
        other[less] = more
        chance[more] -= 1 - chance[less]
        if chance[more] < 1:
            small.append(large.pop())
    chance[small + large] = 1.0  # what rounding leaves
    return chance.astype("float32"), other


def draw(seed, table, rows, count: int):
    """Words (rows, count) int32, drawn by an alias table."""
    chance, other = table
    seeds = tf.random.experimental.stateless_split(seed, 2)
    words = tf.random.stateless_uniform([rows * count], seeds[0], 0, len(other), tf.int32)
    stays = tf.random.stateless_uniform([rows * count], seeds[1]) < tf.gather(chance, words)
    return tf.reshape(tf.where(stays, words, tf.gather(other, words)), [rows, count])


def pair_weights(segment: int, window: int, negatives: int, weight: float) -> np.ndarray:
    """The weights of the pairs of a segment without gaps, (S, L + K)."""
    longest = segment + 2 * window
    distance = np.abs(np.arange(longest) - np.arange(window, window + segment)[:, np.newaxis])
    band = np.where(distance > 0, np.maximum(window + 1 - distance, 0), 0) / window  # (S, L)
    shared = np.full((segment, negatives), (window + 1) * weight / negatives)
    return np.concatenate([band, shared], axis=1).astype("float32")


def masks(is_word, window: int, negatives: int):
    """is_word (N, L) -> (N, S) and (N, L + K), 1 for the rows and columns of scores that have a word, else 0."""
    rows = is_word[:, window : is_word.shape[1] - window]
    return rows, tf.concat([is_word, tf.ones((tf.shape(is_word)[0], negatives))], axis=1)


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
        rows, columns = masks(tf.cast(y_true, tf.float32), self.window, negatives)
        whole = pair_weights(y_pred.shape[1], self.window, negatives, self.weight)
        weights = whole * rows[:, :, tf.newaxis] * columns[:, tf.newaxis]
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
    number of segments of the batch. The two halves of the portions start from the same vectors, so that two cores can
    compute them at the same time. Each half has twice the rate, and the result is the mean of the two. (To add the
    changes instead would not be stable: a direction in which both halves reach the minimum would be passed over.)

    Returns:
        The loss and the norm of its gradient for the first portion, before the updates: () each.
    """
    words, negatives = inputs["words"], inputs["negatives"]
    more = -tf.shape(words)[0] % ROUNDED
    words, negatives, is_word = (tf.pad(value, [[0, more], [0, 0]]) for value in (words, negatives, is_word))
    portions = (tf.shape(words)[0] - more) // PORTION
    half = (portions + 1) // 2
    variables = [model.get_layer(name).embeddings.value for name in ("embedding", "context")]
    before = [variable.read_value() for variable in variables]
    batch = (words, negatives, is_word)
    loss, norm = _measured(*before, *batch, window, weight)
    ends = ((tf.constant(0), half), (half, portions))
    halves = [_updated(*before, *batch, *each, 2 * rate, window, weight) for each in ends]
    for variable, *tables in zip(variables, *halves, strict=True):
        variable.assign(_mean(*tables))
    return loss, norm


@tf.function(jit_compile=True, autograph=False)
def _mean(first, second):
    return 0.5 * (first + second)


class _Portions:
    """The portions of a batch, as they are needed to update the vectors.

    Indices and masks of all portions are laid out once: an update then reads one row of each. They have one axis of
    indices, because XLA gathers by two more slowly.
    """

    def __init__(self, words, negatives, is_word, window: int, weight: float):
        longest, count = words.shape[1], negatives.shape[1]
        self.segment, self.width = longest - 2 * window, longest + count
        self.rows = tf.reshape(words[:, window : window + self.segment], [-1, PORTION * self.segment])
        self.columns = tf.reshape(tf.concat([words, negatives], axis=1), [-1, PORTION * self.width])
        row_masks, column_masks = masks(is_word, window, count)
        self.row_masks = tf.reshape(row_masks, [-1, PORTION, self.segment, 1])
        self.column_masks = tf.reshape(column_masks, [-1, PORTION, 1, self.width])
        self.weights = pair_weights(self.segment, window, count, weight)
        self.targets = (np.arange(self.width) < longest).astype("float32")

    def pieces(self, portion, vectors, contexts):
        """Vectors v (P, S, D) and u (P, L + K, D), their scores (P, S, L + K), weights and gradient of the scores."""
        size = vectors.shape[1]
        v = tf.reshape(tf.gather(vectors, self.rows[portion]), [PORTION, self.segment, size])
        u = tf.reshape(tf.gather(contexts, self.columns[portion]), [PORTION, self.width, size])
        scores = tf.matmul(v, u, transpose_b=True)
        weights = self.weights * (self.row_masks[portion] * self.column_masks[portion])
        return v, u, scores, weights, weights * (self.targets - tf.sigmoid(scores))


@tf.function(jit_compile=True, autograph=False)
def _measured(vectors, contexts, words, negatives, is_word, window: int, weight: float):
    """The loss and the norm of its gradient for the first portion."""
    first = [tensor[:PORTION] for tensor in (words, negatives, is_word)]
    portions = _Portions(*first, window, weight)
    v, u, scores, weights, gradient = portions.pieces(0, vectors, contexts)
    pairs = PORTION * pairs_of(portions.segment, window)
    loss = tf.reduce_sum(weights * tf.nn.softplus(tf.where(portions.targets > 0, -scores, scores))) / pairs
    dv, du = tf.matmul(gradient, u), tf.matmul(gradient, v, transpose_a=True)
    return loss, tf.sqrt(tf.reduce_sum(dv * dv) + tf.reduce_sum(du * du)) / pairs


@tf.function(jit_compile=True, autograph=False)
def _updated(vectors, contexts, words, negatives, is_word, begin, end, rate, window: int, weight: float):
    """`vectors` and `contexts` (V, D) after the portions from `begin` to `end`."""
    portions, size = _Portions(words, negatives, is_word, window, weight), vectors.shape[1]

    def body(portion, vectors, contexts):
        v, u, _, _, gradient = portions.pieces(portion, vectors, contexts)
        gradient *= rate
        dv = tf.reshape(tf.matmul(gradient, u), [-1, size])
        du = tf.reshape(tf.matmul(gradient, v, transpose_a=True), [-1, size])
        vectors = tf.tensor_scatter_nd_add(vectors, portions.rows[portion][:, tf.newaxis], dv)
        contexts = tf.tensor_scatter_nd_add(contexts, portions.columns[portion][:, tf.newaxis], du)
        return portion + 1, vectors, contexts

    _, *tables = tf.while_loop(lambda portion, *_: portion < end, body, (begin, vectors, contexts))
    return tables
