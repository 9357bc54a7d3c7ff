"""Devices: one, all of this machine's, or several machines'; the global batch is the recipe's on all of them."""

import functools
import json
import os
from collections.abc import Callable

import tensorflow as tf

from zoo.errors import ZooError

STRATEGIES = ("one", "mirrored", "multi_worker")


@functools.cache  # one for all runs of a process: a second would number its collective operations like the first
def open_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy of tf.distribute that a name stands for.

    Raises:
        ZooError: an unknown name; multi_worker without TF_CONFIG, or after TensorFlow has begun to work.
    """
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        strategy = tf.distribute.MirroredStrategy()
        return strategy if strategy.num_replicas_in_sync > 1 else tf.distribute.get_strategy()
    if name != "multi_worker":
        raise ZooError(f"strategy={name!r} is none of {', '.join(STRATEGIES)}")
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, task = config["cluster"]["worker"], config["task"]
        places = [worker.rpartition(":") for worker in workers]
        if task["type"] != "worker" or task["index"] not in range(len(workers)):
            raise ValueError
        if isinstance(workers, str) or not all(host and port.isdecimal() for host, _, port in places):
            raise ValueError
    except (KeyError, AttributeError, TypeError, ValueError):
        raise ZooError(
            "multi_worker reads TF_CONFIG, which is not set or not whole; it is like "
            '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
        ) from None
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "startup" not in str(error):
            raise
        raise ZooError("multi_worker must be the first that a process does with TensorFlow") from None


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's folder; of several workers the first does."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_type or resolver.task_id == 0


def distributed(strategy: tf.distribute.Strategy, batches: Callable[[Callable | None], tf.data.Dataset]):
    """Batches for `strategy.run`: each is cut into as many parts as there are replicas, in their order.

    tf.distribute's own way hands the rows out otherwise from strategy to strategy, and gives a replica an empty batch
    where a last one is small.

    Args:
        strategy: of tf.distribute.
        batches: gives the whole batches; called with what says which of their rows a worker looks at.
    """
    if strategy.num_replicas_in_sync == 1:
        return batches(None)

    def own(context):
        replicas, pipelines = context.num_replicas_in_sync, context.num_input_pipelines
        count = replicas // pipelines
        first = context.input_pipeline_id * count

        def wanted(row, rows):
            begin, end = _ends(rows, first, count, replicas)
            # The one before, too: augmentation may mix neighbours, and the first one's is the last.
            return (row - begin + 1) % rows <= end - begin

        whole = batches(wanted if pipelines > 1 else None)
        return whole.flat_map(functools.partial(_parts, first, count, replicas)).prefetch(2)

    return strategy.distribute_datasets_from_function(own)


def _ends(rows, place: int, count: int, replicas: int):
    """Of `rows` in as many parts as there are replicas, where `count` of them from `place` on begin and end.

    Where there are fewer rows than replicas, an empty part has the row at which it would begin.
    """
    begin, last = rows * place // replicas, rows * (place + count - 1) // replicas
    return begin, tf.maximum(rows * (place + count) // replicas, last + 1)


def _parts(first: int, count: int, replicas: int, x, y, weight=None) -> tf.data.Dataset:
    """Of a batch in `replicas` parts, `count` from the one numbered `first`, each an element (x, y, weight)."""
    rows = tf.shape(tf.nest.flatten(x)[0])[0]
    weight = tf.ones((rows,)) if weight is None else weight
    parts = []
    for place in range(first, first + count):
        begin, end = _ends(rows, place, 1, replicas)
        take = slice(begin, end)
        # The row of an empty part counts for nothing.
        counts = tf.cast(rows * (place + 1) // replicas > begin, weight.dtype)
        x_, y_ = tf.nest.map_structure(lambda tensor, take=take: tensor[take], (x, y))
        parts.append(tf.data.Dataset.from_tensors((x_, y_, weight[take] * counts)))
    return functools.reduce(lambda one, other: one.concatenate(other), parts)
