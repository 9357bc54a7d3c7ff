"""Decoding written in plain Python, and a Markov chain to decode."""

import itertools

import numpy as np
import tensorflow as tf

from tests.helpers.toy_generator import example

START, END = 1, 0


class Chain:
    """A generator whose next token depends on the last alone: the probabilities (V, V), row by row."""

    def __init__(self, table, dtype="float32"):
        with np.errstate(divide="ignore"):
            self.logits = tf.constant(np.log(np.array(table)), dtype)
        self.steps = 0  # run eagerly, the times that step was called

    def encode(self, inputs):
        return inputs

    def initial_state(self, memory):
        return [tf.zeros_like(memory)]

    def step(self, tokens, state, memory):
        self.steps += 1
        return tf.gather(self.logits, tokens), state


def sources(inputs=None):
    """The inputs of a batch without their targets."""
    inputs = inputs or example()
    return {key: inputs[key] for key in ("source", "source_length")}


def item(inputs, index):
    """One item of a batch, with its padding cut off."""
    length = inputs["source_length"][index]
    return {"source": inputs["source"][index : index + 1, :length], "source_length": np.array([length], "int32")}


def probabilities(model, inputs, prefixes, with_attention=False):
    """Log-softmax in double precision of teacher-forced logits, (N, U, V), for one item and N equally long prefixes."""
    prefixes = np.array(prefixes)
    repeated = {key: np.repeat(value, len(prefixes), axis=0) for key, value in inputs.items()}
    logits, attention = model({**repeated, "target": prefixes}, return_attention=True)
    logits = logits.numpy().astype("float64")
    logits -= logits.max(-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return (logits, attention.numpy().astype("float64")) if with_attention else logits


def wu(total, attention, alpha, beta):
    """The score of Wu et al. 2016; attention (|Y|, S) without padding."""
    coverage = sum(np.log(min(column.sum(), 1.0)) for column in attention.T)
    return total / ((5 + len(attention)) / 6) ** alpha + beta * coverage


def filled(tokens, max_length):
    """Tokens padded with the end."""
    return list(tokens) + [END] * (max_length - len(tokens))


def plain_greedy(model, inputs, max_length, min_length=0):
    """(tokens, log probability, attention) of one item, everything computed anew at every step."""
    tokens, total = [], 0.0
    while len(tokens) < max_length and END not in tokens:
        values, rows = probabilities(model, inputs, [[START, *tokens]], with_attention=True)
        values = values[0, -1]
        allowed = [token for token in range(len(values)) if token != END or len(tokens) >= min_length]
        tokens.append(max(allowed, key=lambda token: values[token]))
        total += values[tokens[-1]]
    return tokens, total, rows[0]


def plain_beam(model, inputs, max_length, width, alpha=0.0, beta=0.0, min_length=0, end=END, until=None):
    """[(tokens, score)] of one item, best first: lists, whole prefixes, and no stop before `until` have ended."""
    alive, ended = [([], 0.0)], []
    for step in range(max_length):
        if until is not None and len(ended) >= until:
            break
        values, rows = probabilities(model, inputs, [[START, *tokens] for tokens, _ in alive], with_attention=True)
        candidates = [
            (total + values[beam, -1, token], beam, token)
            for beam, (_, total) in enumerate(alive)
            for token in range(values.shape[-1])
            if token != end or step >= min_length
        ]
        candidates.sort(reverse=True)
        for total, beam, token in candidates[:width]:
            if token == end:
                ended.append(([*alive[beam][0], token], wu(total, rows[beam], alpha, beta)))
        going_on = [found for found in candidates if found[2] != end][:width]
        rows = [rows[beam] for _, beam, _ in going_on]
        alive = [([*alive[beam][0], token], total) for total, beam, token in going_on]
    cut = [(tokens, wu(total, heard, alpha, beta)) for (tokens, total), heard in zip(alive, rows, strict=True)]
    return [pair for group in (ended, cut) for pair in sorted(group, key=lambda pair: -pair[1])]


def exhaustive(model, inputs, vocabulary, max_length, alpha, beta):
    """[(tokens, score)] of every sequence there is: those that end, best first, then those cut off."""
    words = [token for token in range(vocabulary) if token != END]
    found = []
    for length in range(1, max_length + 1):
        group = [[*body, END] for body in itertools.product(words, repeat=length - 1)]
        if length == max_length:
            group += [list(body) for body in itertools.product(words, repeat=length)]
        fed = [[START, *tokens[:-1]] for tokens in group]
        values, rows = probabilities(model, inputs, fed, with_attention=True)
        for index, tokens in enumerate(group):
            total = sum(values[index, step, token] for step, token in enumerate(tokens))
            found.append((tokens, wu(total, rows[index], alpha, beta)))
    return sorted(found, key=lambda pair: (pair[0][-1] != END, -pair[1]))
