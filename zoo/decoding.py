"""From a generator's steps to its answers, in the graph: greedy, beam search and sampling.

A generator is anything with three methods:

    encode(inputs) -> memory      initial_state(memory) -> state      step(tokens, state, memory) -> logits, state

tokens are (B,) int32 and logits (B, V). state and memory are nested structures of tensors with batch first; a step
returns a state of the same structure, shapes and types. A state that is a dict may hold `attention` (B, S), the
weights over the source with which the step's logits were made (the initial ones are not read); decoding keeps it along
the chosen path. The step of a generator whose `shares_memory` is true takes W rows of tokens and state an item of
memory, which stand together; others are given memory W times.

Everything runs in a `tf.while_loop` over stock operations and keeps the state from step to step, so it works eagerly,
in a `tf.function` and in a SavedModel. An item's answer doesn't depend on its neighbours in the batch.

Shapes: B batch, W beam width, N hypotheses returned, V vocabulary, S source positions, U = max_length.
"""

from typing import NamedTuple

import tensorflow as tf

from zoo.errors import ZooError

LOWEST = -1e9  # the log probability of what can't be; infinities would turn into NaN where they meet


class Decoded(NamedTuple):
    """What was decoded; beam search has the axis N, best first, where it stands in brackets.

    Attributes:
        tokens: (B, [N,] U) int32, filled with `end` behind the answer.
        lengths: (B, [N]) int32, tokens before `end`. It is U where the answer was cut off without an end.
        scores: (B, [N]) float32, natural log probability of the tokens and their end; in beam search with penalties.
        attention: (B, U, S) float32 of the (best) answer, a row a token and one for its end, then zeros; None where
            the state holds none.
    """

    tokens: tf.Tensor
    lengths: tf.Tensor
    scores: tf.Tensor
    attention: tf.Tensor | None


def greedy(model, inputs, start, end: int | None, max_length: int, min_length: int = 0) -> Decoded:
    """The likeliest token at every step.

    Args:
        model: a generator (see the module).
        inputs: what its `encode` takes.
        start: first token fed to the model: an integer, or (B,) of them.
        end: token that ends an answer; None if nothing does.
        max_length: most tokens made, the end included.
        min_length: fewest tokens before the end.

    Raises:
        ZooError: an argument is out of its range.
    """
    _check(max_length, min_length)
    memory, state, tokens = _begin(model, inputs, start)

    def choose(logits, step):
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    return _follow(model, memory, state, tokens, end, max_length, min_length, choose)


def sample(
    model,
    inputs,
    start,
    end: int | None,
    max_length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed=(0, 0),
    min_length: int = 0,
) -> Decoded:
    """Tokens drawn from the model's distribution; `scores` are that distribution's own, before temperature and top_k.

    Args:
        model, inputs, start, end, max_length, min_length: as for `greedy`.
        temperature: divides the logits; below 1 sharpens.
        top_k: draw among the k likeliest; None: among all.
        seed: (2,) integers: the same seed gives the same answers, and an item's place in the batch is mixed in; or
            (B, 2), a seed an item, and its place doesn't matter.

    Raises:
        ZooError: an argument is out of its range.
    """
    _check(max_length, min_length)
    if not temperature > 0.0:
        raise ZooError(f"temperature must be above 0, not {temperature}; greedy() takes the likeliest token")
    if top_k is not None and top_k < 1:
        raise ZooError(f"top_k must be at least 1, not {top_k}")
    seed = tf.convert_to_tensor(seed)
    if not seed.dtype.is_integer or seed.shape.rank not in (1, 2) or seed.shape[-1] != 2:
        raise ZooError(f"seed must be integers of shape (2,) or (B, 2), not {seed.dtype.name} of shape {seed.shape}")
    memory, state, tokens = _begin(model, inputs, start)
    if seed.shape.rank == 1:
        places = tf.range(tf.size(tokens))
        fold = tf.random.experimental.stateless_fold_in
        seed = tf.map_fn(lambda place: fold(seed, place), places, fn_output_signature=seed.dtype)  # (B, 2)
    draws = tf.map_fn(
        lambda one: tf.random.stateless_uniform((max_length,), one), seed, fn_output_signature=tf.float32
    )  # (B, U); all at once and by item, so that a draw depends on its seed and step alone

    def choose(logits, step):
        values, names = (logits, None) if top_k is None else _top_k(logits, top_k)  # (B, k)
        values = (values - tf.reduce_max(values, axis=-1, keepdims=True)) / temperature
        heaps = tf.cumsum(tf.nn.softmax(values), axis=-1)
        # Inverting the distribution function; its last value stands for 1, which rounding may miss.
        level = draws[:, step, tf.newaxis] * heaps[:, -1:]
        chosen = tf.reduce_sum(tf.cast(heaps <= level, tf.int32), axis=-1)
        return chosen if names is None else tf.gather(names, chosen, batch_dims=1)

    return _follow(model, memory, state, tokens, end, max_length, min_length, choose)


def beam_search(
    model,
    inputs,
    start,
    end: int | None,
    max_length: int,
    width: int = 5,
    min_length: int = 0,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
    n_best: int = 1,
    stops_when_full: bool = False,
) -> Decoded:
    """The best hypotheses among those that `width` beams an item come across.

    A hypothesis Y of a source X scores log P(Y|X) / lp(Y) + cp(X, Y) (Wu et al. 2016, "Google's neural machine
    translation system", arXiv 1609.08144, equation 14), with lp(Y) = ((5 + |Y|) / 6)^alpha, where |Y| counts the end,
    and cp(X, Y) = beta sum_i log(min(sum_j p_ij, 1)) over the attention p_ij of target j to source i. Source positions
    to which the first step gives exactly no weight are padding and left out.

    A hypothesis ends if its end is among the `width` best continuations. An item is done when no open beam can still
    come among its `n_best`, even by growing to `max_length`: width 1 without penalties is `greedy`. Hypotheses cut off
    at `max_length` rank behind all that ended; a place that nothing takes has length 0 and score -1e9.

    Args:
        model, inputs, start, end, max_length, min_length: as for `greedy`.
        width: beams an item.
        length_penalty: alpha; 0: none, the paper's own is 0.2, common are 0.6 to 1.
        coverage_penalty: beta; 0: none, the paper's own is 0.2. Needs a state with `attention`.
        n_best: hypotheses returned an item, N.
        stops_when_full: an item is done, too, once `width` of its hypotheses have ended. That is the common rule, and
            with a length penalty much sooner than the exact one; a longer hypothesis that would have been better may
            be missed.

    Raises:
        ZooError: an argument is out of its range.
    """
    _check(max_length, min_length)
    if width < 1:
        raise ZooError(f"width must be at least 1, not {width}")
    if not 1 <= n_best <= width:
        raise ZooError(f"n_best must lie between 1 and the width {width}, not {n_best}")
    if not (length_penalty >= 0.0 and coverage_penalty >= 0.0):
        raise ZooError(f"penalties must be 0 or more, not {length_penalty} and {coverage_penalty}")
    memory, state, tokens = _begin(model, inputs, start)
    attends = _holds_attention(state)
    if coverage_penalty and not attends:
        raise ZooError("coverage_penalty needs a model whose state holds 'attention'; this one's doesn't")
    batch = tf.size(tokens)

    def repeated(tensors):
        return tf.nest.map_structure(lambda one: None if one is None else tf.repeat(one, width, axis=0), tensors)

    state, tokens = repeated((state, tokens))
    memory = memory if getattr(model, "shares_memory", False) else repeated(memory)

    def by_item(tensor):  # (B * W, ...) -> (B, W, ...)
        return tf.reshape(tensor, tf.concat([[batch, width], tf.shape(tensor)[1:]], axis=0))

    def beams(values, dtype):  # (W,) -> (B, W)
        return tf.tile(tf.constant(values, dtype)[tf.newaxis], [batch, 1])

    def shrunk(total, length):  # log P(Y) / lp(Y)
        return total / ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty

    def penalty(heard, counted):  # (B, W, S), (B, S) -> (B, W)
        heard = tf.where(counted[:, tf.newaxis], tf.minimum(heard, 1.0), 1.0)
        return coverage_penalty * tf.reduce_sum(tf.math.log(heard), axis=-1)

    def is_full(ended):  # (B,)
        return (ended[0][:, -1] > LOWEST / 2) & stops_when_full

    def unfinished(step, tokens, state, total, ended, *_):
        # The most that the best open beam can still reach: all its further tokens certain, all the source covered.
        done = (ended[0][:, n_best - 1] >= shrunk(total[:, 0], max_length)) | is_full(ended)
        return (step < max_length) & ((step == 0) | ~tf.reduce_all(done))

    def body(step, tokens, state, total, ended, heard, counted, tokens_made, parents_made, rows_made):
        logits, stepped = model.step(tokens, state, memory)
        made, names = (by_item(one) for one in _likeliest(logits, end, step, min_length, 2 * width))  # (B, W, 2W + 1)
        rows = by_item(_attention(stepped))  # (B, W, S)
        heard = heard + rows
        counted = tf.where(step == 0, rows[:, 0] > 0.0, counted)
        candidates = tf.maximum(total[:, :, tf.newaxis] + made, LOWEST)
        kept = tf.shape(candidates)[2]
        candidates = tf.reshape(candidates, [batch, width * kept])
        # At most W of these end, so W that go on are left.
        best, places = tf.math.top_k(candidates, tf.minimum(2 * width, width * kept))
        parent, token = places // kept, tf.gather(tf.reshape(names, [batch, -1]), places, batch_dims=1)
        ends = tf.zeros_like(token, tf.bool) if end is None else token == end

        ripe = ends[:, :width] & (best[:, :width] > LOWEST / 2)
        score = shrunk(best, step + 1)
        if coverage_penalty:
            score += tf.gather(penalty(heard, counted), parent, batch_dims=1)
        score = tf.where(ripe & ~is_full(ended)[:, tf.newaxis], score[:, :width], LOWEST)
        added = (score, tf.fill([batch, width], step), parent[:, :width])
        pool = [tf.concat(pair, axis=1) for pair in zip(ended, added, strict=True)]
        order = tf.math.top_k(pool[0], width).indices
        # A batch waits for its last item; what the early ones meanwhile find is no better and changes nothing.
        ended = tuple(tf.gather(column, order, batch_dims=1) for column in pool)

        total, order = tf.math.top_k(tf.where(ends, LOWEST, best), width)
        parent, token = (tf.gather(column, order, batch_dims=1) for column in (parent, token))
        rows_made = rows_made.write(step, rows)
        parents_made, tokens_made = parents_made.write(step, parent), tokens_made.write(step, token)
        heard = tf.gather(heard, parent, batch_dims=1)
        index = tf.reshape(tf.range(batch)[:, tf.newaxis] * width + parent, [-1])
        state = _like(tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), stepped), state)
        tokens = _like(tf.reshape(token, [-1]), tokens)
        return step + 1, tokens, state, total, ended, heard, counted, tokens_made, parents_made, rows_made

    blank = by_item(tf.zeros_like(_attention(state)))  # (B, W, S)
    total = beams([0.0] + [LOWEST] * (width - 1), tf.float32)  # the beams are equal at first, so only one counts
    ended = (beams([LOWEST] * width, tf.float32), beams([0] * width, tf.int32), beams([0] * width, tf.int32))
    arrays = [_array(max_length, tf.int32, (None, width)), _array(max_length, tf.int32, (None, width))]
    arrays.append(_array(max_length, tf.float32, (None, width, None)))
    steps, _, _, total, ended, heard, counted, *arrays = tf.while_loop(
        unfinished, body, (tf.constant(0), tokens, state, total, ended, blank, blank[:, 0] > 0.0, *arrays)
    )
    # Those that ended, best first; then those cut off.
    cut, slots = tf.math.top_k(
        tf.where(total > LOWEST / 2, shrunk(total, max_length) + penalty(heard, counted), LOWEST), width
    )
    finished = tf.reduce_sum(tf.cast(ended[0] > LOWEST / 2, tf.int32), axis=1, keepdims=True)  # (B, 1)
    rank = tf.range(n_best)[tf.newaxis]
    rank = tf.where(rank < finished, rank, rank - finished + width)  # (B, N)
    added = (cut, tf.fill([batch, width], max_length), slots)
    scores, lengths, slots = (
        tf.gather(tf.concat(pair, axis=1), rank, batch_dims=1) for pair in zip(ended, added, strict=True)
    )
    lengths = tf.where(scores > LOWEST / 2, lengths, 0)
    tokens, attention = _trace(arrays, steps, lengths, slots, end, max_length)
    return Decoded(tokens, lengths, scores, attention if attends else None)


def _trace(arrays, steps, lengths, slots, end, max_length):
    """Walks hypotheses back from the beams in which they stopped: (B, N) -> tokens (B, N, U), rows (B, U, S)."""
    tokens_made, parents_made, rows_made = (array.gather(tf.range(steps)) for array in arrays)

    def body(step, slots, tokens, rows):
        inside = step < lengths
        token = tf.where(inside, tf.gather(tokens_made[step], slots, batch_dims=1), _filling(end))
        slots = tf.where(inside, tf.gather(parents_made[step], slots, batch_dims=1), slots)
        row = tf.gather(rows_made[step], slots[:, 0], batch_dims=1)  # (B, S)
        row = tf.where((step <= lengths[:, 0])[:, tf.newaxis], row, 0.0)
        return step - 1, slots, tokens.write(step, token), rows.write(step, row)

    arrays = _array(max_length, tf.int32, (None, slots.shape[1])), _array(max_length, tf.float32, (None, None))
    _, _, tokens, rows = tf.while_loop(lambda step, *_: step >= 0, body, (steps - 1, slots, *arrays))
    return _join(tokens, steps, max_length, _filling(end), [1, 2, 0]), _join(rows, steps, max_length, 0.0, [1, 0, 2])


def _follow(model, memory, state, tokens, end, max_length, min_length, choose) -> Decoded:
    """One path an item; choose((B, V) logits, step) -> (B,) tokens."""

    def unfinished(step, tokens, state, done, *_):
        return (step < max_length) & ((step == 0) | ~tf.reduce_all(done))

    def body(step, tokens, state, done, lengths, scores, tokens_made, rows_made):
        logits, stepped = model.step(tokens, state, memory)
        values = _checked(logits, end)
        norm = _normalizer(values, tf.argmax(values, axis=-1, output_type=tf.int32))
        if min_length:
            values = tf.where(_early(tf.range(tf.shape(values)[-1]), end, step, min_length), LOWEST, values)
        tokens = tf.where(done, _filling(end), choose(values, step))
        made = tf.gather(values, tokens, batch_dims=1) - norm
        scores += tf.where(done, 0.0, tf.where(made >= LOWEST, made, LOWEST))
        rows = tf.where(done[:, tf.newaxis], 0.0, _attention(stepped))
        tokens_made, rows_made = tokens_made.write(step, tokens), rows_made.write(step, rows)
        done = done if end is None else done | (tokens == end)
        lengths += tf.cast(~done, tf.int32)
        return step + 1, tokens, _like(stepped, state), done, lengths, scores, tokens_made, rows_made

    nothing = tf.zeros_like(tokens)  # (B,)
    arrays = _array(max_length, tf.int32, (None,)), _array(max_length, tf.float32, (None, None))
    begin = tf.constant(0), tokens, state, nothing > 0, nothing, tf.cast(nothing, tf.float32), *arrays
    steps, _, _, _, lengths, scores, tokens, rows = tf.while_loop(unfinished, body, begin)
    attention = _join(rows, steps, max_length, 0.0, [1, 0, 2]) if _holds_attention(state) else None
    return Decoded(_join(tokens, steps, max_length, _filling(end), [1, 0]), lengths, scores, attention)


def _check(max_length, min_length):
    if max_length < 1:
        raise ZooError(f"max_length must be at least 1, not {max_length}")
    if not 0 <= min_length <= max_length:
        raise ZooError(f"min_length must lie between 0 and max_length {max_length}, not {min_length}")


def _begin(model, inputs, start):
    memory = model.encode(inputs)
    state = model.initial_state(memory)
    batch = tf.shape(tf.nest.flatten(state)[0])[0]
    return memory, state, tf.broadcast_to(tf.cast(start, tf.int32), [batch])


def _likeliest(logits, end, step, min_length, count):
    """(B, V) logits -> the `count` greatest log probabilities and their tokens, (B, count + 1), or (B, V) if V is less.

    None is below LOWEST; NaN becomes LOWEST, and so does an end that comes too early.
    """
    logits = _checked(logits, end)
    values, tokens = _top_k(logits, count + 1)  # one may be an early end
    values -= _normalizer(logits, tokens[:, 0])[:, tf.newaxis]
    possible = (values >= LOWEST) & ~_early(tokens, end, step, min_length)
    return tf.where(possible, values, LOWEST), tokens


def _checked(logits, end):
    size = logits.shape[-1]
    if end is not None and size is not None and not 0 <= end < size:
        raise ZooError(f"end must be one of the model's {size} tokens, not {end}")
    return tf.cast(logits, tf.float32)


def _normalizer(logits, likeliest):
    """(B, V) and the likeliest tokens (B,) -> log sum exp (B,): from their softmax, much faster than a sum of exp."""
    logit, probability = (tf.gather(each, likeliest, batch_dims=1) for each in (logits, tf.nn.softmax(logits)))
    return logit - tf.math.log(probability)


def _early(tokens, end, step, min_length):
    """Where tokens are an end that comes too early."""
    return (tokens == (-1 if end is None else end)) & (step < min_length)


def _top_k(values, k):
    """As tf.math.top_k (B, V), ties included, but of the k blocks with the greatest maxima alone: it is slow in V."""
    size = values.shape[-1]
    block = next((each for each in range(32, size) if size % each == 0), size) if size else 0
    if not block or size // block <= k:
        return tf.math.top_k(values, tf.minimum(k, tf.shape(values)[-1]))
    blocks = tf.reshape(values, [-1, size // block, block])
    chosen = tf.sort(tf.math.top_k(tf.reduce_max(blocks, axis=-1), k).indices)
    values, places = tf.math.top_k(tf.reshape(tf.gather(blocks, chosen, batch_dims=1), [-1, k * block]), k)
    return values, tf.gather(chosen, places // block, batch_dims=1) * block + places % block


def _holds_attention(state) -> bool:
    return isinstance(state, dict) and "attention" in state


def _attention(state):
    """(B, S) float32; S is 0 where the state holds none."""
    if _holds_attention(state):
        return tf.cast(state["attention"], tf.float32)
    return tf.zeros([tf.shape(tf.nest.flatten(state)[0])[0], 0])


def _like(state, before):
    """The state with the static shapes of the one before, which the loop wants to see unchanged."""
    return tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), state, before)


def _filling(end) -> int:
    return 0 if end is None else end


def _array(size, dtype, shape):
    return tf.TensorArray(dtype, size, clear_after_read=False, element_shape=shape)


def _join(array, steps, max_length, filling, order):
    """What the steps wrote, (T, B, ...), filled up to max_length and transposed."""
    made = array.gather(tf.range(steps))
    widths = [[0, max_length - steps]] + [[0, 0]] * (made.shape.rank - 1)
    made = tf.ensure_shape(tf.pad(made, widths, constant_values=filling), [max_length] + made.shape[1:])
    return tf.transpose(made, order)
