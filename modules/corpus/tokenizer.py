"""Report text as token numbers and back, with the diagnosis prompt in front."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, WhitespaceSplit

from modules.corpus.text import attach_punctuation, postprocess_prediction
from modules.labels import START_TOKEN, STATE_TOKENS
from modules.messages import UserError, refuse_stand_ins
from modules.records import atomic_write, read_object

PAD, UNKNOWN, END = "[PAD]", "[UNK]", "[SEP]"
PROMPT_TOKENS = (START_TOKEN, *STATE_TOKENS)
KEPT = 8192  # reports whose tokens are kept, some 8 MB: every epoch of a small set asks for the same ones


class ReportTokenizer:
    """A vocabulary.

    The five prompt tokens follow its words, in the order of ``PROMPT_TOKENS``: numbers 30522 to 30526 with the
    published vocabulary.

    Args:
        tokenizer: word or WordPiece tokenizer that knows the special tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        missing = [token for token in (PAD, UNKNOWN, END, *PROMPT_TOKENS) if tokenizer.token_to_id(token) is None]
        if missing:
            raise UserError(
                f"the vocabulary of {tokenizer.get_vocab_size()} tokens lacks {', '.join(missing)}: use the vocab.txt "
                "of bert-base-uncased, or the tokenizer.json that main_train.py wrote"
            )
        self._joins_pieces = isinstance(tokenizer.model, WordPiece)
        self._prompt_ids = frozenset((self.start_id, *self.state_ids))
        self._silent_ids = self._prompt_ids | {self.pad_id, tokenizer.token_to_id(UNKNOWN)}

    @classmethod
    def from_bert(cls, bert_path: str | Path) -> ReportTokenizer:
        """WordPieces of BERT, lower case.

        Args:
            bert_path: ``vocab.txt`` of bert-base-uncased, or a folder that holds it or ``tokenizer.json``.

        Raises:
            UserError: if it is not there; if it lacks a special token or repeats a word, see :func:`word_pieces`.
        """
        path = vocabulary_file(bert_path)
        if not path.is_file():
            raise UserError(
                f"{path} does not exist: fetch it where there is internet with 'hf download "
                f"google-bert/bert-base-uncased vocab.txt --local-dir {path.parent}', or use --tokenizer corpus"
            )
        return cls(_with_prompt_tokens(word_pieces(path)))

    @classmethod
    def from_reports(cls, reports: Iterable[str], threshold: int) -> ReportTokenizer:
        """Words of the training reports, sorted.

        Args:
            reports: cleaned training reports; words are what stands between whitespace.
            threshold: least number of occurrences of a word; rarer words become ``[UNK]``.

        Raises:
            UserError: if no word is that frequent, or ``threshold`` is below 1.

        Source: the rule of R2Gen.
        """
        if threshold < 1:
            raise UserError(f"--threshold is {threshold}; expected at least 1")
        counts = Counter(word for report in reports for word in report.split())
        special = (PAD, UNKNOWN, END)
        words = sorted(word for word, n in counts.items() if n >= threshold and word not in (*special, *PROMPT_TOKENS))
        if not words:
            raise UserError(
                f"none of the {len(counts)} words of the training reports occurs {threshold} times: lower --threshold"
            )
        return cls._of_words({word: number for number, word in enumerate((*special, *words))})

    @classmethod
    def _of_words(cls, vocabulary: dict[str, int]) -> ReportTokenizer:
        """Whole words, as whitespace parts them, by their numbers."""
        tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        return cls(_with_prompt_tokens(tokenizer))

    @classmethod
    def load(cls, path: str | Path) -> ReportTokenizer:
        """Read a file written by :meth:`save`.

        Raises:
            UserError: if there is no such file; if it is not a vocabulary.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path} does not exist: main_train.py writes it beside the checkpoint, copy both")
        refuse_stand_ins(path)
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises nothing more specific
            raise UserError(f"{path} is not a vocabulary ({error}): copy it again from the run's folder") from error
        return cls(tokenizer)

    def extended(self, reports: Iterable[str], threshold: int) -> ReportTokenizer:
        """A vocabulary of words with the new words of other reports behind it; itself if its tokens are pieces.

        Args:
            reports: cleaned training reports.
            threshold: least number of occurrences of a new word.
        """
        if self._joins_pieces:
            return self
        known = self._tokenizer.get_vocab(with_added_tokens=True)
        counts = Counter(word for report in reports for word in report.split())
        new = sorted(word for word, n in counts.items() if n >= threshold and word not in known)
        return self._of_words(known | {word: len(known) + number for number, word in enumerate(new)})

    def save(self, path: str | Path) -> None:
        """Write one JSON file."""
        with atomic_write(path) as file:
            file.write(self._tokenizer.to_str(pretty=True))

    @property
    def vocab_size(self) -> int:
        """Number of tokens V, prompt tokens included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def checksum(self) -> str:
        """Checksum of every token and its number: two vocabularies of one size may differ."""
        tokens = sorted(self._tokenizer.get_vocab(with_added_tokens=True).items())
        return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()

    def _number(self, token: str) -> int:
        return cast(int, self._tokenizer.token_to_id(token))  # there since the tokenizer was made

    @property
    def pad_id(self) -> int:
        """Number of ``[PAD]``, 0."""
        return self._number(PAD)

    @property
    def end_id(self) -> int:
        """Number of ``[SEP]``, 102 in the published vocabulary."""
        return self._number(END)

    @property
    def start_id(self) -> int:
        """Number of ``[DEC]``."""
        return self._number(START_TOKEN)

    @property
    def state_ids(self) -> tuple[int, ...]:
        """Numbers ``(P,)`` of the state tokens, in the order of :data:`modules.labels.STATES`."""
        return tuple(map(self._number, STATE_TOKENS))

    def prompt_ids(self, states: Sequence[int]) -> list[int]:
        """Diagnosis prompt ``(1 + L,)`` of the states ``(L,)``, each 0 to 3: 19 numbers for 18 conditions."""
        assert all(0 <= state < len(STATE_TOKENS) for state in states)
        numbers = self.state_ids
        return [self.start_id, *(numbers[state] for state in states)]

    def encode(self, report: str, states: Sequence[int], max_tokens: int) -> list[int]:
        """Prompt, report and end token.

        Args:
            report: cleaned report.
            states: ``(L,)`` state of every condition.
            max_tokens: report tokens kept; prompt and end token come on top.

        Returns:
            ``(T,)`` token numbers, ``T <= 1 + L + max_tokens + 1``.
        """
        return [*self.prompt_ids(states), *self._tokens(report)[:max_tokens], self.end_id]

    def words(self, report: str, length: int) -> list[int]:
        """The first ``length`` tokens of a report, padded to that number: ``(length,)``."""
        tokens = self._tokens(report)[:length]
        return tokens + [self.pad_id] * (length - len(tokens))

    def _tokens(self, report: str) -> list[int]:
        """All tokens of a report; nobody may change them."""
        known = self._known.get(report)
        if known is None:
            known = self._tokenizer.encode(report, add_special_tokens=False).ids
            if len(self._known) < KEPT:
                self._known[report] = known
        return known

    def decode(self, ids: Sequence[int]) -> str:
        """The report in a generated sequence, spaced like a cleaned report (``"right-sided line . no edema ."``).

        The prompt is recognised by its numbers; reading stops at the end token after it; padding and ``[UNK]`` are left
        out. WordPieces are joined and spaced as the published chain does before it scores, so that a predictions file
        holds what is scored.

        Args:
            ids: ``(T,)`` token numbers, with or without prompt.
        """
        tokens = list(ids)
        start = next((i for i, token in enumerate(tokens) if token not in self._prompt_ids), len(tokens))
        stop = tokens.index(self.end_id, start) if self.end_id in tokens[start:] else len(tokens)
        spoken = (token for token in tokens[start:stop] if token not in self._silent_ids)
        words: list[str] = []
        for piece in map(cast(Callable[[int], str], self._tokenizer.id_to_token), spoken):
            if self._joins_pieces and piece.startswith("##") and words:
                words[-1] += piece[2:]
            else:
                words.append(piece)
        text = " ".join(words)
        return postprocess_prediction(attach_punctuation(text)).rstrip(" ") if self._joins_pieces else text


def vocabulary_file(place: str | Path) -> Path:
    """The words in the folder of a BERT: ``vocab.txt``, or ``tokenizer.json``, which today's transformers saves in its place; a file as it is."""
    place = Path(place)
    if place.suffix in (".txt", ".json") and not place.is_dir():
        return place
    names = [place / "vocab.txt", place / "tokenizer.json"]
    return next((name for name in names if name.is_file()), names[0])


def _lines_of(path: Path) -> list[str]:
    """The words of a ``vocab.txt``."""
    return path.read_text(encoding="utf-8-sig", errors="replace").rstrip("\n").split("\n")  # a word may be U+2028


def _words_of(path: Path) -> list[str]:
    """The words of the ``tokenizer.json`` of a BERT, in the order of their numbers; UserError if it is another's."""
    model = read_object(path).get("model")
    words = model.get("vocab") if isinstance(model, dict) and model.get("type") == "WordPiece" else None
    if not isinstance(words, dict) or sorted(words.values(), key=str) != sorted(range(len(words)), key=str):
        raise UserError(f"{path} does not hold the words of a BERT: give the folder of one with --bert_path")
    return sorted(words, key=words.__getitem__)


def word_pieces(path: Path, lowercase: bool = True) -> Tokenizer:
    """BERT's way to cut text, with the words of a ``vocab.txt`` or ``tokenizer.json``.

    Raises:
        UserError: if it repeats a word, or is what git or a server gave in place of a vocabulary.
    """
    refuse_stand_ins(path)
    words = _words_of(path) if path.suffix == ".json" else _lines_of(path)
    vocabulary = {word: number for number, word in enumerate(words)}
    if len(vocabulary) < len(words):
        raise UserError(f"{path} repeats {len(words) - len(vocabulary)} of its words: copy it again")
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def _with_prompt_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Append the prompt tokens; not normalised, since lower-casing would hide them from themselves."""
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in PROMPT_TOKENS])
    return tokenizer
