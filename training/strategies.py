"""Distribution over one device, all devices of a machine, or machines. The recipe's batch is the global batch."""

import functools
import json
import os
from collections.abc import Callable

import tensorflow as tf

from zoo.errors import ZooError, unknown

STRATEGIES = ("one", "mirrored", "multi_worker")


@functools.cache  # a second strategy in a process would give its collective operations the same numbers
def open_strategy(name: str) -> tf.distribute.Strategy:
    """The tf.distribute strategy with this name.

    Raises:
        ZooError: an unknown name, or multi_worker without TF_CONFIG or after TensorFlow has started.
    """
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        strategy = tf.distribute.MirroredStrategy()
        return strategy if strategy.num_replicas_in_sync > 1 else tf.distribute.get_strategy()
    if name != "multi_worker":
        raise unknown("strategy", name, STRATEGIES)
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
            "multi_worker reads TF_CONFIG, which is missing or incomplete; example: "
            '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
        ) from None
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "startup" not in str(error):
            raise
        raise ZooError("multi_worker must be set up before the process uses TensorFlow: start a new process") from None


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's folder, as only the first worker does."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_type or resolver.task_id == 0


def distributed(strategy: tf.distribute.Strategy, batches: Callable[[Callable | None], tf.data.Dataset]):
    """Batches for `strategy.run`: each is cut into one part per replica, in the order of the replicas.

    tf.distribute distributes rows differently from strategy to strategy, and gives some replicas an empty batch if the
    last batch is small.

    Args:
        strategy: of tf.distribute.
        batches: returns the whole batches. Its argument is None, or a function (row, rows) -> whether this worker
            needs the row.
    """
    if strategy.num_replicas_in_sync == 1:
        return batches(None)

    def own(context):
        replicas, pipelines = context.num_replicas_in_sync, context.num_input_pipelines
        count = replicas // pipelines
        first = context.input_pipeline_id * count

        def wanted(row, rows):
            begin, end = _ends(rows, first, count, replicas)
            # Also the row before, as augmentation may mix neighbours; the first row's neighbour is the last.
            return (row - begin + 1) % rows <= end - begin

        whole = batches(wanted if pipelines > 1 else None)
        return whole.flat_map(functools.partial(_parts, first, count, replicas)).prefetch(2)

    return strategy.distribute_datasets_from_function(own)


def _ends(rows, place: int, count: int, replicas: int):
    """Begin and end of the parts `place` to `place + count` when `rows` are cut into one part per replica.

    With fewer rows than replicas, an empty part gets the row at which it would begin.
    """
    begin, last = rows * place // replicas, rows * (place + count - 1) // replicas
    return begin, tf.maximum(rows * (place + count) // replicas, last + 1)


def replica_rows(rows: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Inside `strategy.run`: begin and end of this replica's rows of a batch, and whether they count.

    With fewer rows than replicas, some replicas get a row that counts for another replica.
    """
    context = tf.distribute.get_replica_context()
    place, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
    begin, end = _ends(rows, place, 1, replicas)
    return begin, end, rows * (place + 1) // replicas > begin


def _parts(first: int, count: int, replicas: int, x, y, weight=None) -> tf.data.Dataset:
    """The parts `first` to `first + count` of a batch that is cut into `replicas` parts, as elements (x, y, weight)."""
    rows = tf.shape(tf.nest.flatten(x)[0])[0]
    weight = tf.ones((rows,)) if weight is None else weight
    parts = []
    for place in range(first, first + count):
        begin, end = _ends(rows, place, 1, replicas)
        take = slice(begin, end)
        # The row of an empty part has weight 0.
        is_own = rows * (place + 1) // replicas > begin
        x_, y_, weight_ = tf.nest.map_structure(lambda tensor, take=take: tensor[take], (x, y, weight))
        weight_ = tf.nest.map_structure(lambda own, counts=is_own: own * tf.cast(counts, own.dtype), weight_)
        parts.append(tf.data.Dataset.from_tensors((x_, y_, weight_)))
    return functools.reduce(lambda first, second: first.concatenate(second), parts)
