"""Words and arithmetic of words, in the graph."""

import tensorflow as tf

from zoo.preprocessing import text

NEAREST = 3  # spellings that are offered for an unknown word
LONGEST = 32  # letters of an unknown word that are compared: memory grows with them
EXAMPLE = "king - man + woman"


def plain(texts, lower_case: bool):
    """Texts (...) -> words between single spaces: everything but letters and digits becomes a space."""
    if lower_case:
        texts = text.lower(texts)
    return tf.strings.strip(tf.strings.regex_replace(texts, r"[^\pL\pM\pN]+", " "))


def with_plain_signs(texts):
    """Texts (...) with - in the place of the minus sign and the dashes that editors put there, between spaces."""
    return tf.strings.regex_replace(texts, "(^|\\s)[\u2212\u2013\u2014](\\s|$)", r"\1-\2")


def parse(tokens: tf.RaggedTensor, table):
    """Words with signs between them -> their numbers and signs, padded with sign 0, and errors.

    Args:
        tokens: (B, None) strings.
        table: a lookup table word -> number, -1 for unknown words.

    Returns:
        ids (B, T) int32, signs (B, T) float32, error (B,), the first unknown word (B,) or "".
    """
    dense = tokens.to_tensor("")  # (B, 2 T - 1)
    dense = tf.pad(dense, [[0, 0], [0, 2 - tf.shape(dense)[1] % 2]], constant_values="")  # an even number, >= 2
    words, signs = dense[:, 0::2], dense[:, 1::2]
    count = tf.cast(tokens.row_lengths(), tf.int32)
    is_word = tf.range(tf.shape(words)[1]) < (count[:, tf.newaxis] + 1) // 2
    is_sign = tf.range(tf.shape(signs)[1]) < count[:, tf.newaxis] // 2
    is_parsed = (count % 2 == 1) & tf.reduce_all((signs == "+") | (signs == "-") | ~is_sign, axis=1)
    is_parsed &= tf.reduce_all((words != "+") & (words != "-") | ~is_word, axis=1)
    ids = tf.cast(table.lookup(words), tf.int32)
    before = tf.concat([tf.fill([tf.shape(words)[0], 1], "+"), signs[:, :-1]], axis=1)
    values = tf.where(before == "-", -1.0, 1.0) * tf.cast(is_word, tf.float32)
    is_unknown = is_word & (ids < 0)
    unknown = tf.gather(words, tf.argmax(is_unknown, axis=1), batch_dims=1)
    unknown = tf.where(is_parsed & tf.reduce_any(is_unknown, axis=1), unknown, "")
    shown = tf.strings.substr(tf.strings.reduce_join(tokens, axis=1, separator=" "), 0, 80, "UTF8_CHAR")
    wrong = tf.strings.join(["'", shown, f"' is not an expression: put + or - between its words, as in {EXAMPLE}"])
    return ids, values, tf.where(is_parsed, "", wrong), unknown


def offer(unknown, words):
    """Unknown words (B,), "" for none -> (B,) errors that offer the words (V,) with the nearest spellings.

    Of two words that are equally near, the one that comes first in `words` is offered.
    """

    def error(word):
        shown, word = tf.strings.substr(word, 0, 80, "UTF8_CHAR"), tf.strings.substr(word, 0, LONGEST, "UTF8_CHAR")
        letters = tf.strings.unicode_split(words, "UTF-8")
        own = tf.strings.unicode_split(word, "UTF-8")
        tiled = tf.RaggedTensor.from_uniform_row_length(tf.tile(own, [tf.size(words)]), tf.cast(tf.size(own), tf.int64))
        distance = tf.edit_distance(letters.to_sparse(), tiled.to_sparse(), normalize=False)
        near = tf.gather(words, tf.argsort(distance, stable=True)[:NEAREST])
        hint = tf.strings.reduce_join(near, separator=", ")
        has_sign = tf.strings.regex_full_match(shown, r".+[+-].+")
        spaces = tf.where(has_sign, "; an expression has spaces around + and -", "")
        return tf.strings.join(["unknown word '", shown, "'; the nearest spellings are ", hint, spaces])

    spec = tf.TensorSpec((), tf.string)
    offered = tf.map_fn(
        lambda word: tf.reshape(tf.cond(word == "", lambda: "", lambda: error(word)), ()),
        unknown,
        fn_output_signature=spec,
    )
    return tf.reshape(offered, [-1])
