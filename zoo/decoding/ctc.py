"""Connectionist temporal classification: decoding and alignment in the graph. The blank is class 0.

Graves, Fernandez, Gomez & Schmidhuber 2006, "Connectionist temporal classification". A path has one class per frame;
its labels are what is left when repeated classes are merged and blanks are removed. Frames after an item's length are
ignored.

Shapes: B batch, T frames, V classes with the blank, W beam width, N hypotheses returned, U labels.
"""

from typing import NamedTuple

import tensorflow as tf

from zoo.decoding.steps import LOWEST, Decoded
from zoo.errors import ZooError

BLANK = 0
_MIX = -7046029254386353131, -4658895280553007687  # odd numbers of 64 bits, of the hash function SplitMix64


class Alignment(NamedTuple):
    """The place of labels in time.

    Attributes:
        starts, ends: (B, U) int32, the first frame of a label and the one after its last, without the blanks around it;
            0 after an item's labels.
        scores: (B,) float32, natural log probability of the path; LOWEST or less if the labels need more
            frames.
    """

    starts: tf.Tensor
    ends: tf.Tensor
    scores: tf.Tensor


def greedy(logits, frame_count) -> Decoded:
    """Decodes with the likeliest class of each frame.

    Args:
        logits: (B, T, V).
        frame_count: (B,).

    Returns:
        tokens (B, U), filled with 0, lengths (B,), and scores (B,), the log probability of the path.
    """
    logits = tf.cast(logits, tf.float32)
    is_valid = tf.range(tf.shape(logits)[1]) < frame_count[:, tf.newaxis]  # (B, T)
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)
    values = tf.reduce_max(logits, axis=-1) - tf.reduce_logsumexp(logits, axis=-1)
    before = tf.pad(best, ((0, 0), (1, 0)))[:, :-1]  # a blank before the first frame
    is_label = is_valid & (best != BLANK) & (best != before)
    tokens, lengths = _to_the_left(best, is_label)
    return Decoded(tokens, lengths, tf.reduce_sum(tf.where(is_valid, values, 0.0), axis=1), None)


def prefix_beam_search(logits, frame_count, width: int = 16, n_best: int = 1) -> Decoded:
    """The labels whose paths together are likeliest: Graves 2008; Hannun et al. 2014, arXiv 1408.2873, algorithm 1.

    A beam is a sequence of labels, and holds the probability of its paths that end in a blank and that of the others.
    With a width of all sequences, the scores are exact.

    Args:
        logits: (B, T, V).
        frame_count: (B,).
        width: number of beams.
        n_best: number of hypotheses.

    Returns:
        tokens (B, N, U), filled with 0, lengths (B, N), and scores (B, N), natural log probabilities, best first; about
        LOWEST where an item has fewer hypotheses.

    Raises:
        ZooError: width < 1, or n_best is not from 1 to width.
    """
    if width < 1 or not 1 <= n_best <= width:
        raise ZooError(f"n_best must be an integer from 1 to width, got {n_best}, and width >= 1, got {width}")
    log_probabilities = _by_frame(logits)
    count, batch = tf.shape(log_probabilities)[0], tf.shape(log_probabilities)[1]
    arrays = [
        tf.TensorArray(tf.int32, count, clear_after_read=False, element_shape=(None, width)) for _ in range(2)
    ]  # parents and labels

    def body(step, beams, parents, labels):
        following, parent, label = _step(beams, log_probabilities[step], width)
        goes_on = (step < frame_count)[:, tf.newaxis]  # (B, 1)
        beams = tf.nest.map_structure(lambda new, old: tf.where(goes_on, new, old), following, beams)
        parents = parents.write(step, tf.where(goes_on, parent, tf.range(width)))
        return step + 1, beams, parents, labels.write(step, tf.where(goes_on, label, BLANK))

    begin = tf.constant(0), _first_beams(batch, width), *arrays
    _, beams, parents, labels = tf.while_loop(lambda step, *_: step < count, body, begin)
    scores, slots = tf.math.top_k(_logaddexp(beams.blank, beams.label), n_best)
    tokens, lengths = _traced(parents, labels, slots, count)
    return Decoded(tokens, lengths, scores, None)


class _Beams(NamedTuple):
    """(B, W) each."""

    blank: tf.Tensor  # log probability of the paths that end in a blank
    label: tf.Tensor  # and of the others
    last: tf.Tensor  # last label; BLANK before the first one
    key: tf.Tensor  # hash of the labels, int64
    parent_key: tf.Tensor  # hash of the labels but the last


def _first_beams(batch, width) -> _Beams:
    """The empty sequence first; the other beams are impossible."""
    slots = tf.tile(tf.range(width)[tf.newaxis], [batch, 1])
    lowest = tf.fill([batch, width], LOWEST)
    blank = tf.where(slots == 0, 0.0, LOWEST)
    key, parent_key = _void_keys(slots)
    return _Beams(blank, lowest, tf.zeros_like(slots), tf.where(slots == 0, tf.int64.min, key), parent_key)


def _void_keys(slots):
    """Keys that no sequence has, in practice: of a beam that holds none, and of its parent."""
    slots = tf.cast(slots, tf.int64)
    return slots + 1, -slots - 1


def _key(parent_key, label):
    """The hash of a sequence from that of the sequence without its last label.

    Sequences are compared by a hash of 64 bits, because a beam may lose a sequence and find it again later.
    """
    high = tf.bitwise.right_shift(parent_key, tf.constant(29, tf.int64))
    mixed = tf.bitwise.bitwise_xor(parent_key, high) * _MIX[0]
    return (mixed + tf.cast(label, tf.int64)) * _MIX[1]


def _step(beams: _Beams, log_probabilities, width) -> tuple[_Beams, tf.Tensor, tf.Tensor]:
    """One frame: beams, (B, V) -> beams, and where they come from, (B, W): slots, and new labels or BLANK for none."""
    size = tf.shape(log_probabilities)[-1]
    total = _logaddexp(beams.blank, beams.label)  # (B, W)
    # Beams that stay as they are.
    blank = total + log_probabilities[:, :1]
    own = tf.gather(log_probabilities, beams.last, batch_dims=1)  # (B, W)
    label = tf.where(beams.last == BLANK, LOWEST, beams.label + own)
    # Beams with one label more. A repetition is a new label only after a blank.
    labels = tf.range(size)
    is_repetition = beams.last[..., tf.newaxis] == labels  # (B, W, V)
    extended = tf.where(is_repetition, beams.blank[..., tf.newaxis], total[..., tf.newaxis])
    extended += log_probabilities[:, tf.newaxis]
    extended = tf.where(labels == BLANK, LOWEST, extended)
    # Those that are beams already are merged into them: beam j is beam i with the label last[j].
    is_child = beams.parent_key[:, tf.newaxis] == beams.key[..., tf.newaxis]  # (B, i, j)
    into = tf.gather(extended, tf.tile(beams.last[:, tf.newaxis], [1, width, 1]), batch_dims=2)  # (B, i, j)
    label = _logaddexp(label, tf.reduce_logsumexp(tf.where(is_child, into, LOWEST), axis=1))
    taken = tf.reduce_any(is_child[..., tf.newaxis] & (labels == beams.last[:, tf.newaxis, :, tf.newaxis]), axis=2)
    extended = tf.where(taken, LOWEST, extended)
    # The best of all: first W that stay, then W * V with a new label.
    candidates = tf.concat([_logaddexp(blank, label), tf.reshape(extended, [-1, width * size])], axis=1)
    scores, places = tf.math.top_k(candidates, width)
    is_new = places >= width
    parent = tf.where(is_new, (places - width) // size, places)
    new_label = tf.where(is_new, (places - width) % size, BLANK)
    chosen = _Beams(*(tf.gather(column, parent, batch_dims=1) for column in (blank, label, *beams[2:])))
    is_void = scores < LOWEST / 2
    slots = tf.tile(tf.range(width)[tf.newaxis], [tf.shape(scores)[0], 1])
    void_key, void_parent = _void_keys(slots)
    key = tf.where(is_void, void_key, tf.where(is_new, _key(chosen.key, new_label), chosen.key))
    parent_key = tf.where(is_void, void_parent, tf.where(is_new, chosen.key, chosen.parent_key))
    following = _Beams(
        tf.where(is_new | is_void, LOWEST, chosen.blank),
        tf.where(is_void, LOWEST, tf.where(is_new, scores, chosen.label)),
        tf.where(is_new, new_label, chosen.last),
        key,
        parent_key,
    )
    return following, parent, new_label


def _traced(parents, labels, slots, count):
    """Follows beams back to the first frame: slots (B, N) -> tokens (B, N, U) and lengths (B, N)."""
    path = tf.TensorArray(tf.int32, count, element_shape=(None, None))

    def body(step, slots, path):
        label = tf.gather(labels.read(step), slots, batch_dims=1)
        slots = tf.gather(parents.read(step), slots, batch_dims=1)
        return step - 1, slots, path.write(step, label)

    _, _, path = tf.while_loop(lambda step, *_: step >= 0, body, (count - 1, slots, path))
    tokens = tf.transpose(tf.reshape(path.stack(), [count, -1, slots.shape[1]]), [1, 2, 0])  # (B, N, T)
    flat = tf.reshape(tokens, [-1, count])
    flat, lengths = _to_the_left(flat, flat != BLANK)
    number = [tf.shape(slots)[0], slots.shape[1]]
    return tf.reshape(flat, [*number, tf.shape(flat)[1]]), tf.reshape(lengths, number)


def align(logits, frame_count, labels, label_count) -> Alignment:
    """The likeliest path of given labels, by the Viterbi algorithm over labels and the blanks between them.

    Args:
        logits: (B, T, V).
        frame_count: (B,).
        labels: (B, U) integers, without blanks.
        label_count: (B,).
    """
    log_probabilities = _by_frame(logits)
    labels = tf.where(tf.range(tf.shape(labels)[1]) < label_count[:, tf.newaxis], tf.cast(labels, tf.int32), BLANK)
    count, batch = tf.shape(log_probabilities)[0], tf.shape(log_probabilities)[1]
    # States: blank, first label, blank, second label, ..., blank.
    states = tf.reshape(tf.stack([tf.zeros_like(labels), labels], axis=2), [batch, -1])
    states = tf.pad(states, ((0, 0), (0, 1)))  # (B, 2 U + 1)
    size = tf.shape(states)[1]
    may_skip = (states != BLANK) & (states != tf.pad(states, ((0, 0), (2, 0)))[:, :size])
    # Before the first frame, a path is in the first blank.
    best = tf.pad(tf.fill([batch, 1], 0.0), ((0, 0), (0, size - 1)), constant_values=LOWEST)
    moves = tf.TensorArray(tf.int32, count, clear_after_read=False, element_shape=(None, None))

    def forward(step, best, moves):
        last = tf.pad(best, ((0, 0), (1, 0)), constant_values=LOWEST)[:, :size]
        skipped = tf.pad(best, ((0, 0), (2, 0)), constant_values=LOWEST)[:, :size]
        options = tf.stack([best, last, tf.where(may_skip, skipped, LOWEST)], axis=2)  # (B, S, 3)
        move = tf.argmax(options, axis=2, output_type=tf.int32)
        here = tf.gather(log_probabilities[step], states, batch_dims=1)
        reached = tf.maximum(tf.reduce_max(options, axis=2) + here, 2 * LOWEST)
        goes_on = (step < frame_count)[:, tf.newaxis]
        return step + 1, tf.where(goes_on, reached, best), moves.write(step, tf.where(goes_on, move, 0))

    _, best, moves = tf.while_loop(lambda step, *_: step < count, forward, (0, best, moves))
    # A path ends in the last label or in the blank after it.
    ends = tf.stack([2 * label_count, tf.maximum(2 * label_count - 1, 0)], axis=1)  # (B, 2)
    final = tf.gather(best, ends, batch_dims=1)
    state = tf.gather(ends, tf.argmax(final, axis=1), batch_dims=1)
    path = tf.TensorArray(tf.int32, count, element_shape=(None,))

    def backward(step, state, path):
        move = tf.gather(moves.read(step), state, batch_dims=1)
        return step - 1, state - move, path.write(step, tf.where(step < frame_count, state, 0))

    _, _, path = tf.while_loop(lambda step, *_: step >= 0, backward, (count - 1, state, path))
    path = tf.transpose(tf.reshape(path.stack(), [count, batch]))  # (B, T) states
    is_label = path[:, tf.newaxis] == 2 * tf.range(tf.shape(labels)[1])[:, tf.newaxis] + 1  # (B, U, T)
    frames = tf.range(count)
    starts = tf.reduce_min(tf.where(is_label, frames, count), axis=2)
    ends = tf.reduce_max(tf.where(is_label, frames + 1, 0), axis=2)
    return Alignment(tf.where(ends > 0, starts, 0), ends, tf.reduce_max(final, axis=1))


def frames_needed(labels, label_count):
    """The least number of frames that have a path of the labels: one per label, and a blank between two equal ones.

    (B, U), (B,) -> (B,) int32
    """
    places = tf.range(tf.shape(labels)[1])[1:]
    repeated = (labels[:, 1:] == labels[:, :-1]) & (places < label_count[:, tf.newaxis])
    return tf.cast(label_count, tf.int32) + tf.reduce_sum(tf.cast(repeated, tf.int32), axis=1)


def word_times(starts, ends, words) -> list[tuple[int, int]]:
    """The first frame of each word and the one after its last, from those of its labels, in Python.

    Args:
        starts, ends: of one item's labels.
        words: for each label, the number of its word from 0 on, or None for a label between words.

    >>> word_times([2, 5, 7, 9], [3, 6, 8, 12], [0, 0, None, 1])
    [(2, 6), (9, 12)]
    """
    times: dict[int, tuple[int, int]] = {}
    for start, end, word in zip(starts, ends, words, strict=True):
        if word is not None:
            first = times.get(word, (int(start), 0))[0]
            times[word] = (first, int(end))
    return list(times.values())


def _by_frame(logits):
    """Log probabilities, at least LOWEST / 1000: (B, T, V) -> (T + 1, B, V).

    The added frame, which no item has, lets T be 0.
    """
    values = tf.maximum(tf.nn.log_softmax(tf.cast(logits, tf.float32)), LOWEST / 1e3)
    return tf.transpose(tf.pad(values, ((0, 0), (0, 1), (0, 0))), [1, 0, 2])


def _to_the_left(tokens, is_kept):
    """Removes tokens and moves the others to the left: (B, T) -> (B, U) filled with 0, and how many are left."""
    lengths = tf.reduce_sum(tf.cast(is_kept, tf.int32), axis=1)
    order = tf.argsort(tf.cast(~is_kept, tf.int32), axis=1, stable=True)
    moved = tf.gather(tf.where(is_kept, tokens, BLANK), order, batch_dims=1)
    return moved[:, : tf.reduce_max(tf.concat([lengths, [0]], axis=0))], lengths


def _logaddexp(a, b):
    return tf.maximum(a, b) + tf.math.log1p(tf.exp(-tf.abs(a - b)))
