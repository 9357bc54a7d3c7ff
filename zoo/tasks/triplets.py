"""The triplet loss with semi-hard negatives, and the equal error rate of batches as a Keras metric."""

import keras
import tensorflow as tf

from zoo.tasks.losses import REDUCTION

FAR = 1e9  # farther than any squared distance
BINS = 4000  # of distances from 0 to 2, which points on the unit sphere have


def squared_distances(anchors, others):
    """(A, D) and (B, D) of unit length -> (A, B)."""
    return tf.maximum(2.0 - 2.0 * tf.matmul(anchors, others, transpose_b=True), 0.0)


def semi_hard(distances, is_positive, is_negative, margin: float):
    """The triplet loss of each anchor.

    For an anchor and a positive, the negative is the nearest that is farther than the positive, or the farthest of all
    if none is (Schroff et al. 2015, section 3.2). The nearest of all would pull all points into one. The paper compares
    only negatives within the margin; the loss of others is 0.

    Args:
        distances: (A, B), squared, of anchors to all items.
        is_positive: (A, B), whether an item is another picture of the anchor's person.
        is_negative: (A, B), whether it is a picture of another person.
        margin: by which a negative must be farther than a positive.

    Returns:
        (A,), the mean of max(0, positive - negative + margin) over the positives; 0 for anchors without positives or
        negatives.
    """
    negatives = tf.sort(tf.where(is_negative, distances, FAR), axis=1)  # (A, B), nearest first
    count = tf.reduce_sum(tf.cast(is_negative, tf.int32), axis=1, keepdims=True)  # (A, 1)
    place = tf.searchsorted(negatives, tf.stop_gradient(distances), side="right")  # of the next farther negative
    place = tf.maximum(tf.minimum(place, count - 1), 0)
    chosen = tf.gather(negatives, place, batch_dims=1)  # (A, B), one for each positive
    weight = tf.cast(is_positive & (count > 0), distances.dtype)
    each = tf.nn.relu(distances - chosen + margin) * weight
    return tf.math.divide_no_nan(tf.reduce_sum(each, axis=1), tf.reduce_sum(weight, axis=1))


def _context():
    """The replica, if a strategy runs on several; else None."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def _of_all_replicas(values: list) -> tuple[list, tf.Tensor]:
    """Tensors (B, ...) of the items of all replicas, and the place of this replica's first item.

    The gradient flows to all of them, so several replicas have the loss of one.
    """
    context = _context()
    if context is None:
        return values, tf.constant(0)
    counts = context.all_gather(tf.shape(values[0])[:1], axis=0)
    before = tf.range(tf.size(counts)) < context.replica_id_in_sync_group
    first = tf.reduce_sum(tf.where(before, counts, 0))
    return [context.all_gather(value, axis=0) for value in values], first


@keras.saving.register_keras_serializable("zoo")
class TripletLoss(keras.losses.Loss):
    """Triplets of a batch: each item is an anchor, all others of its person are positives, negatives are semi-hard.

    Targets are the numbers of people (B,), predictions embeddings (B, D) of unit length. On several devices the
    triplets are those of the whole batch.

    Args:
        margin: by which a negative must be farther than a positive, in squared distance.
    """

    def __init__(self, margin: float = 0.2, name: str = "triplet"):
        super().__init__(name, reduction=REDUCTION)
        self.margin = margin

    def call(self, y_true, y_pred):
        people, points = tf.reshape(tf.cast(y_true, tf.int64), [-1]), tf.cast(y_pred, tf.float32)  # Keras passes (B, 1)
        (everyone, all_points), first = _of_all_replicas([people, points])
        is_same = people[:, tf.newaxis] == everyone
        is_self = (first + tf.range(tf.size(people)))[:, tf.newaxis] == tf.range(tf.size(everyone))
        return semi_hard(squared_distances(points, all_points), is_same & ~is_self, ~is_same, self.margin)

    def get_config(self):
        return {"margin": self.margin, "name": self.name}


@keras.saving.register_keras_serializable("zoo")
class EqualErrorRate(keras.metrics.Metric):
    """The equal error rate of the pairs in each batch, by counts of distances in bins of 1/2000.

    Arguments are those of `TripletLoss`. `zoo evaluate` compares all pairs of a split, by `zoo.pairs`.
    """

    def __init__(self, name: str = "equal_error_rate", **options):
        super().__init__(name=name, **options)
        self.same = self.add_weight(shape=(BINS,), initializer="zeros", name="same")
        self.different = self.add_weight(shape=(BINS,), initializer="zeros", name="different")

    def update_state(self, y_true, y_pred, sample_weight=None):
        people, points = tf.reshape(tf.cast(y_true, tf.int64), [-1]), tf.cast(y_pred, tf.float32)
        distances = tf.sqrt(squared_distances(points, points))
        places = tf.minimum(tf.cast(distances * (BINS / 2.0), tf.int32), BINS - 1)
        is_pair = tf.range(tf.size(people))[:, tf.newaxis] < tf.range(tf.size(people))
        is_same = people[:, tf.newaxis] == people
        if sample_weight is not None:
            counts = tf.reshape(sample_weight, [-1]) > 0.0
            is_pair = is_pair & counts & counts[:, tf.newaxis]
        for bins, mask in ((self.same, is_pair & is_same), (self.different, is_pair & ~is_same)):
            bins.assign_add(tf.cast(tf.math.bincount(places[mask], minlength=BINS, maxlength=BINS), tf.float32))

    def result(self):
        """1 if a kind of pairs has not occurred."""
        same, different = tf.convert_to_tensor(self.same), tf.convert_to_tensor(self.different)
        has_both = (tf.reduce_sum(same) > 0.0) & (tf.reduce_sum(different) > 0.0)
        accepted = tf.math.divide_no_nan(tf.cumsum(different), tf.reduce_sum(different))
        rejected = 1.0 - tf.math.divide_no_nan(tf.cumsum(same), tf.reduce_sum(same))
        best = tf.argmin(tf.abs(accepted - rejected))
        return tf.where(has_both, (accepted[best] + rejected[best]) / 2.0, 1.0)
