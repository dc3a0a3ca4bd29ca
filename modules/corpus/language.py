"""Whether reports are English: labels, entities, the cleaner and METEOR's synonyms know no other language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from modules.messages import UserError

_ENGLISH = frozenset(
    [
        "the",
        "is",
        "are",
        "was",
        "were",
        "of",
        "and",
        "with",
        "without",
        "there",
        "seen",
        "heart",
        "lungs",
        "lung",
        "clear",
        "left",
        "right",
        "size",
        "unchanged",
        "chest",
        "evidence",
        "within",
        "limits",
        "mild",
        "moderate",
        "small",
        "no",
        "not",
        "has",
        "have",
        "been",
        "this",
        "that",
        "which",
        "from",
        "for",
        "to",
        "by",
        "on",
        "at",
        "as",
        "stable",
        "bilateral",
    ]
)
_OTHERS = (
    frozenset(  # small words of German, French, Spanish, Portuguese, Italian, Dutch, Polish, Turkish and Vietnamese
        [
            "kein",
            "keine",
            "keinen",
            "keiner",
            "und",
            "der",
            "das",
            "den",
            "dem",
            "des",
            "nicht",
            "mit",
            "ohne",
            "im",
            "ist",
            "sind",
            "rechts",
            "links",
            "beidseits",
            "zeigt",
            "bei",
            "nach",
            "herz",
            "lunge",
            "befund",
            "erguss",
            "pas",
            "de",
            "du",
            "la",
            "le",
            "les",
            "et",
            "sans",
            "des",
            "est",
            "au",
            "aux",
            "une",
            "un",
            "dans",
            "droit",
            "droite",
            "gauche",
            "avec",
            "sin",
            "el",
            "los",
            "las",
            "del",
            "se",
            "con",
            "en",
            "derecho",
            "derecha",
            "izquierdo",
            "izquierda",
            "hallazgos",
            "signos",
            "pulmonar",
            "torax",
            "cardiaca",
            "silueta",
            "derrame",
            "sem",
            "da",
            "dos",
            "das",
            "com",
            "em",
            "ao",
            "na",
            "nos",
            "nas",
            "sinais",
            "direito",
            "esquerdo",
            "non",
            "di",
            "il",
            "lo",
            "gli",
            "nessun",
            "nessuna",
            "ombra",
            "della",
            "dei",
            "delle",
            "alla",
            "nel",
            "nella",
            "senza",
            "destra",
            "sinistra",
            "geen",
            "van",
            "het",
            "een",
            "zonder",
            "op",
            "te",
            "er",
            "zijn",
            "bez",
            "nie",
            "na",
            "oraz",
            "po",
            "ve",
            "bir",
            "yok",
            "izlenmedi",
            "sol",
            "sag",
            "ile",
            "khong",
            "co",
            "hai",
            "phoi",
        ]
    )
)
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
FEWEST_WORDS = 3  # of a text whose language can be told


def is_other_language(text: str) -> bool:
    """Whether a text is not English: mostly letters beyond ASCII, or more words of other languages than small English ones.

    Terms alone (``cardiomegaly, effusion``) are of no language.
    """
    letters = [letter for letter in text if letter.isalpha()]
    if len(letters) > 2 and sum(not letter.isascii() for letter in letters) > len(letters) / 2:
        return True
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < FEWEST_WORDS:
        return False
    english = sum(word in _ENGLISH for word in words)
    return sum(word in _OTHERS or not word.isascii() for word in words) > english


def refuse_other_language(path: Path, texts: Sequence[str]) -> None:
    """Refuse reports more than half of which are not English.

    Args:
        path: the file that holds them.
        texts: the reports, empty ones included.

    Raises:
        UserError: saying how many.
    """
    said = [text for text in texts if any(map(str.isalpha, text))]
    foreign = sum(map(is_other_language, said))
    if 2 * foreign > len(said):
        raise UserError(
            f"{path}: {foreign} of {len(said)} reports are not English, and labels, entities and cleaner know no other language: "
            "translate them first"
        )
