"""Converts texts to token ids and back, with TensorFlow operations in the graph.

A vocabulary is created from bytes, which a preset stores as an asset. It has two functions of batches: `encode`, (B,)
strings -> (B, None) ragged int32, and `decode`, its inverse. In every vocabulary, ids 0, 1 and 2 are padding, start and
end; `encode` never returns them.
"""

import functools
import io
import json
from collections.abc import Iterable

import tensorflow as tf

from zoo.errors import ZooError
from zoo.quiet import held_back

PADDING, START, END, UNKNOWN = range(4)
WORD = "\u2581"  # the first character of a piece that begins a word
STOP = "<end>"  # how the end is shown in pictures


# Several words with capitals, and no small letter. TensorFlow's functions of strings stop at a NUL.
_IN_CAPITALS = r"[^\p{Ll}\x00]*\p{Lu}[^\p{Ll}\x00]*\s[^\p{Ll}\x00]*\p{Lu}[^\p{Ll}\x00]*"


def sentence_case(texts):
    """(B,) strings -> (B,): texts of several words that are all in capitals get small letters after the first.

    >>> sentence_case(tf.constant(["TWO DOGS.", "A TV.", "A dog.", "BMX"])).numpy().tolist()
    [b'Two dogs.', b'A tv.', b'A dog.', b'BMX']
    """
    is_capital = tf.strings.regex_full_match(texts, _IN_CAPITALS)
    begin = tf.strings.regex_replace(texts, r"(?s)^(\P{L}*\p{L}).*$", r"\1")  # up to the first letter
    rest = tf.strings.substr(texts, tf.strings.length(begin), tf.strings.length(texts))
    return tf.where(is_capital, begin + lower(rest), texts)


class Pieces:
    """SentencePiece (Kudo & Richardson 2018, arXiv 1808.06226): pieces of words, and bytes where no piece fits.

    `encode` first normalises the text (NFKC, single spaces between words); `decode` returns the normalised text. The
    operations are tensorflow-text's.

    Args:
        model: a serialized SentencePiece model.
    """

    def __init__(self, model: bytes):
        try:
            with held_back():
                from tensorflow_text import SentencepieceTokenizer
        except ImportError as error:
            raise ZooError(f"this vocabulary needs tensorflow-text: pip install tensorflow-text ({error})") from None

        # A partial, so each graph creates its own tokenizer. A tokenizer from outside the graph belongs to a kernel
        # that TensorFlow deletes when it clears its caches, for example when a random seed is set.
        self._tokenizer = functools.partial(SentencepieceTokenizer, model=model, out_type=tf.int32)
        self.size = int(self._tokenizer().vocab_size())
        self.resource = None  # a SavedModel tracks no resource; the graphs contain the vocabulary

    def encode(self, texts):
        return self._tokenizer().tokenize(texts)

    def decode(self, ids):
        return self._tokenizer().detokenize(ids)

    def names(self, ids: list[int]) -> list[str]:
        """How each token is shown."""
        pieces = self._tokenizer().id_to_string(tf.constant(ids, tf.int32)).numpy()
        return [STOP if token == END else piece.decode() for token, piece in zip(ids, pieces, strict=True)]

    def problem(self, texts):
        """(B,) strings -> (B,), always "": characters without a piece are encoded as bytes."""
        return tf.fill([tf.size(texts)], "")


def train_pieces(texts: Iterable[str], size: int) -> bytes:
    """Trains a SentencePiece model of at most `size` pieces on the texts; it has fewer pieces if there are few texts.

    Raises:
        ZooError: size is too small for the 256 bytes and the letters of the texts.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="nmt_nfkc",
            pad_id=PADDING,
            bos_id=START,
            eos_id=END,
            unk_id=UNKNOWN,
            num_threads=1,  # with more threads, sums are rounded differently
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[-150:]
        raise ZooError(f"vocabulary_size={size}: SentencePiece can't make such a vocabulary ({reason})") from None
    return model.getvalue()


class Symbols:
    """A list of symbols: the characters of a word, or names separated by spaces.

    Args:
        listed: the symbols, one per line, in UTF-8; or a list of them.
        are_letters: whether symbols are single characters without separators; `encode` then lowercases texts.
    """

    def __init__(self, listed: bytes | list[str], are_letters: bool):
        self.symbols = listed if isinstance(listed, list) else listed.decode("utf-8").split("\n")
        self.are_letters = are_letters
        self.size = UNKNOWN + 1 + len(self.symbols)
        places = tf.range(UNKNOWN + 1, self.size)
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(self.symbols), places)
        self.resource = tf.lookup.StaticHashTable(pairs, UNKNOWN)

    def split(self, texts):
        """(B,) strings -> the tokens (B, None) that `encode` numbers, as they are written."""
        return (
            tf.strings.unicode_split(tf.strings.strip(texts), "UTF-8") if self.are_letters else tf.strings.split(texts)
        )

    def _ids(self, symbols):
        """Symbols -> ids. Symbols are lowercased one by one, because TensorFlow stops at the first NUL of a text."""
        return self.resource.lookup(tf.strings.lower(symbols, "utf-8") if self.are_letters else symbols)

    def encode(self, texts):
        return self.numbers(self.split(texts))

    def numbers(self, symbols):
        """Ragged symbols -> their ids."""
        return symbols.with_flat_values(self._ids(symbols.flat_values))

    def decode(self, ids):
        names = tf.constant([""] * (UNKNOWN + 1) + self.symbols)
        return tf.strings.reduce_join(tf.gather(names, ids), axis=-1, separator="" if self.are_letters else " ")

    def names(self, ids: list[int]) -> list[str]:
        """How each token is shown."""
        names = ["-", "-", STOP, "?", *self.symbols]
        return [names[token] for token in ids]

    def problem(self, texts):
        """(B,) strings -> (B,), an error message that names the unknown symbols; "" if all are known."""
        symbols = self.split(texts)
        is_unknown = self._ids(symbols.flat_values) == UNKNOWN
        quoted = tf.where(is_unknown, tf.strings.join(["'", symbols.flat_values, "' "]), "")
        quoted = tf.strings.strip(tf.strings.reduce_join(symbols.with_flat_values(quoted), axis=-1))
        return tf.where(quoted == "", "", tf.strings.join(["not in the vocabulary: ", quoted]))


def symbols_of(texts: Iterable[str], are_letters: bool) -> bytes:
    """The symbols that occur in texts, sorted, one per line: the argument of `Symbols`."""
    symbols: set[str] = set()
    for text in texts:
        symbols.update(map(str.lower, text.strip()) if are_letters else text.split())
    return "\n".join(sorted(symbols - {"\n"})).encode("utf-8")


def lower(texts):
    """(...) strings in small letters. NUL becomes a space, because TensorFlow's operation ends a text at the first."""
    return tf.strings.lower(tf.strings.regex_replace(texts, r"\x00", " "), "utf-8")


# A word has letters, marks, digits and apostrophes; every other sign is a token of its own.
_SIGN = r"[^\p{L}\p{M}\p{N}'\s]"
_BEFORE_SIGN = r" ([.,;:!?)\]}])"  # no space is written before these signs


def words_of(texts):
    """(B,) strings -> ragged (B, None): their words and signs.

    >>> words_of(tf.constant(["Don't go, please."])).to_list()
    [[b"Don't", b'go', b',', b'please', b'.']]
    """
    return tf.strings.split(tf.strings.regex_replace(texts, f"({_SIGN})", r" \1 "))


def characters_of(texts):
    """(B,) strings -> ragged (B, None): their characters."""
    return tf.strings.unicode_split(texts, "UTF-8")


class Words(Symbols):
    """The most frequent words and signs of running text; other words are the unknown token.

    Signs that are not in the vocabulary are left out, as they are from a text whose signs were removed. If none of its
    words has an apostrophe, apostrophes are left out too: "don't" is then read as "dont".

    Args:
        listed: the words, one per line, in UTF-8.
    """

    def __init__(self, listed: bytes):
        super().__init__(listed, are_letters=False)
        self.has_apostrophes = any("'" in symbol for symbol in self.symbols)

    def split(self, texts):
        words = words_of(texts if self.has_apostrophes else tf.strings.regex_replace(texts, "['\u2019]", ""))
        is_sign = tf.strings.regex_full_match(words.flat_values, _SIGN)
        is_read = (self._ids(words.flat_values) != UNKNOWN) | ~is_sign
        return tf.ragged.boolean_mask(words, words.with_flat_values(is_read))

    def decode(self, ids):
        return tf.strings.regex_replace(super().decode(ids), _BEFORE_SIGN, r"\1")

    def problem(self, texts):
        """(B,) strings -> (B,), always "": there is a token for unknown words."""
        return tf.fill([tf.size(texts)], "")


# English endings that are words of their own: "is n't", "it 's", as in treebanks (Kim 2014 splits texts like this).
_ENDING = r"(?i)(\pL)(n't|'(?:s|m|d|re|ve|ll))\b"


def sentence_words_of(texts):
    """(B,) strings -> ragged (B, None): their words and signs, with the endings 's and n't as words.

    >>> sentence_words_of(tf.constant(["It isn't Tom\u2019s, is it?"])).to_list()
    [[b'It', b'is', b"n't", b'Tom', b"'s", b',', b'is', b'it', b'?']]
    """
    texts = tf.strings.regex_replace(tf.strings.regex_replace(texts, r"\x00", " "), "\u2019", "'")
    return words_of(tf.strings.regex_replace(texts, _ENDING, r"\1 \2"))


class SentenceWords(Symbols):
    """The words and signs of sentences; others are the unknown token.

    Args:
        listed: the words, one per line, in UTF-8.
    """

    def __init__(self, listed: bytes):
        super().__init__(listed, are_letters=False)

    def split(self, texts):
        return sentence_words_of(texts)

    def problem(self, texts):
        """(B,) strings -> (B,), always "": there is a token for unknown words."""
        return tf.fill([tf.size(texts)], "")


class Characters(Symbols):
    """The most frequent characters of running text, white space among them.

    Args:
        listed: a JSON list of the characters.
    """

    def __init__(self, listed: bytes):
        super().__init__(json.loads(listed), are_letters=False)

    def split(self, texts):
        return characters_of(texts)

    def decode(self, ids):
        names = tf.constant([""] * (UNKNOWN + 1) + self.symbols)
        return tf.strings.reduce_join(tf.gather(names, ids), axis=-1)
