"""Which of the 75 radiology entities does a report mention, and does it assert or deny them?

An entity is named by a word in any of its forms, and some also by a phrase; whether it is asserted is decided by
``modules.labelling.assertions``. Mentions teach the entity scorer on training reports; no image is ever scored by the
words of its own report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from tqdm import tqdm

from modules.distributed import is_main
from modules.labelling.assertions import assertion_map, normalised_sentences
from modules.labelling.labelers import RANK
from modules.labels import BLANK, ENTITIES, NEGATIVE, POSITIVE, UNCERTAIN

NOT_MENTIONED, PRESENT, DENIED, UNCERTAIN_MENTION = BLANK, POSITIVE, NEGATIVE, UNCERTAIN
SILENCE_WEIGHT = 0.5  # an entity that a report does not mention is probably, not surely, absent
TAIL, EXCLUDED = ENTITIES.index("tail_abnorm_obs"), ENTITIES.index("excluded_obs")

# Forms of one word; an entity that is not listed has only its own name and the plural.
WORD_FORMS = {
    "normal": r"normal(?:ly|ity)?|wnl",
    "clear": r"clear(?:ly|ed|ing)?",
    "stable": r"stabl[ey]|stability|unchanged",
    "effusion": r"effusions?|hydrothora\w+",
    "opacity": r"opacit\w+|opacif\w+|opaque",
    "pneumothorax": r"(?:hydro|hemo)?pneumothora\w+|ptx",
    "edema": r"o?edema\w*",
    "atelectasis": r"atelecta\w+",
    "tube": r"\w*tubes?|ett|ngt",
    "consolidation": r"consolidat\w+",
    "process": r"process(?:es)?",
    "abnormality": r"abnormal\w*",
    "enlarge": r"enlarg\w+",
    "pneumonia": r"\w*pneumoni(?:as?|c|tis)",
    "congestion": r"congestion|congested|congestive",
    "catheter": r"\w*catheters?",
    "cardiomegaly": r"cardiomegaly",
    "fracture": r"fractur\w+",
    "tortuous": r"tortuo\w+",
    "calcification": r"calcif\w+|calcific",
    "prominence": r"prominen\w+",
    "engorgement": r"engorge\w*",
    "elevation": r"elevat\w+",
    "expand": r"expan(?:d|ded|sion|sile)",
    "nodule": r"\w*nodul\w+",
    "degenerative": r"degenerat\w+",
    "pacemaker": r"pacemakers?|pacer|pacing",
    "thicken": r"thicken\w*|thickness",
    "scar": r"scar(?:s|red|ring)?",
    "hyperinflate": r"(?:hyper|over)(?:inflat|expan|aerat)\w*",
    "blunt": r"blunt\w*",
    "loss": r"loss(?:es)?",
    "widen": r"wid(?:en|ened|ening|e)",
    "collapse": r"collaps\w+",
    "density": r"densit\w+|dense",
    "emphysema": r"emphysema\w*",
    "aerate": r"aerat\w+",
    "mass": r"mass(?:es|like)?",
    "crowd": r"crowd\w*",
    "infiltrate": r"infiltrat\w+",
    "obscure": r"obscur\w+",
    "deformity": r"deform\w+",
    "hernia": r"hernia\w*",
    "drainage": r"drain\w*",
    "distention": r"disten\w+",
    "shift": r"shift\w*",
    "stent": r"stent\w*",
    "dilation": r"dilat\w+",
    "chf": r"chf",
    "redistribution": r"redistribut\w+|cephali[sz]ation",
    "aspiration": r"aspirat\w+",
    "tail_abnorm_obs": (
        r"\w*adenopathy|granulom\w+|pneumo(?:mediastinum|peritoneum|pericardium)|osteop(?:enia|enic|orosis|orotic)|\w*scolio\w+"
        r"|kypho\w+|osteophy\w+|spondyl\w+|\w*arthri\w+|\w*fibro(?:sis|tic)|bronchiect\w+|bull(?:a|ae|ous)|blebs?|cavit\w+"
        r"|cysts?|cystic|h(?:a?e)morrhag\w+|h(?:a?e)mothora\w+|contusions?|dislocat\w+|sublux\w+|\w*sclero(?:sis|tic)"
        r"|athero\w+|plaques?|aneurysm\w*|ectasia|ectatic|empyema|abscess\w*|tumou?rs?|neoplas\w+|malignan\w+|carcinoma"
        r"|metasta\w+|infect\w+|inflammat\w+|eventrat\w+|flatten\w*|compress\w+|spurr?ing|hyperlucen\w+|embol\w+|infarct\w*"
        r"|tubercul\w+|sarcoid\w*|copd|bronchitis|hypertrophy|hypertension|stenosis|erosions?|lytic|reticul\w+|haz(?:y|iness)"
        r"|fullness|bowing|tent(?:ing|ed)|demineraliz\w+|hypoinflat\w+|hypoventilat\w+|pectus|unfold\w+|uncoil\w+|wedg\w+|\w*lucenc\w+|irregularit\w+|narrow(?:ed|ing)|cancer\w*|injur\w+|loculat\w+|obstruct\w+|thromb\w+|sequelae?|retract\w+"
    ),
}
PHRASES = {
    "cardiomegaly": r"(?:enlarged|large) (?:heart|cardiac)|(?:heart|cardiac)(?: \w+){0,3}? enlarge(?:d|ment)",
    "chf": r"(?:congestive|heart|cardiac) failure",
    "fluid": r"(?:volume|fluid) overload",
    "pacemaker": r"pace maker",
    "hyperinflate": r"(?:hyper|over) (?:inflat|expan|aerat)\w+",
    "pneumothorax": r"pneumo thorax",
}
# These hold an entity's word and name something else.
MASKED = re.compile(r"\b(?:air ?spaces?|spinous process\w*|transverse process\w*|leads? to|in process|wide awake)\b")


def _word_form(entity: str) -> re.Pattern[str]:
    return re.compile(WORD_FORMS.get(entity, rf"{re.escape(entity)}s?"))


_WORD_FORMS = tuple((index, _word_form(name)) for index, name in enumerate(ENTITIES) if index != EXCLUDED)
_PHRASES = tuple((ENTITIES.index(name), re.compile(rf"\b(?:{pattern})\b")) for name, pattern in PHRASES.items())
_WORD = re.compile(r"[a-z]+")
_RANK = RANK.tolist()  # of the states of one entity in one report the highest stands, as of a condition's


@lru_cache(maxsize=1 << 16)
def _named_by(word: str) -> tuple[int, ...]:
    """Entities that one word names."""
    return tuple(index for index, form in _WORD_FORMS if form.fullmatch(word))


@lru_cache(maxsize=1 << 16)
def _sentence_mentions(sentence: str) -> tuple[tuple[int, int], ...]:
    """Entity and state of every mention in a normalised sentence."""
    asserted = assertion_map(sentence)
    text = MASKED.sub(lambda match: "#" * len(match[0]), sentence)
    found = {(index, asserted[word.end() - 1]) for word in _WORD.finditer(text) for index in _named_by(word[0])}
    found |= {(index, asserted[match.end() - 1]) for index, form in _PHRASES for match in form.finditer(text)}
    return tuple(found)


def entity_mentions(reports: Sequence[str]) -> np.ndarray:
    """State of each of the 75 entities in each report.

    A report that asserts an entity anywhere mentions it as present; else one that leaves it open as uncertain; else one
    that denies it as denied. Two entities are collective: ``tail_abnorm_obs`` stands for any abnormal observation too
    rare for the list (granuloma, scoliosis, adenopathy), ``excluded_obs`` is present where a report holds words and
    none of them names an entity.

    Args:
        reports: n raw or cleaned reports.

    Returns:
        ``(n, K)`` int8 in the order of ``ENTITIES``: 0 not mentioned, 1 present, 2 denied, 3 uncertain.
    """
    mentions = np.zeros((len(reports), len(ENTITIES)), dtype=np.int8)
    for row, report in enumerate(
        tqdm(reports, desc="entity mentions", unit="report", leave=False, delay=2, disable=not is_main())
    ):
        sentences = normalised_sentences(report)
        states: dict[int, int] = {}
        for sentence in sentences:
            for index, state in _sentence_mentions(sentence):
                if _RANK[state] > _RANK[states.get(index, NOT_MENTIONED)]:
                    states[index] = state
        if sentences and not states:
            states[EXCLUDED] = PRESENT
        for index, state in states.items():
            mentions[row, index] = state
    return mentions


def mention_targets(mentions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn mentions ``(n, K)`` into soft targets and weights ``(n, K)`` of a binary cross-entropy."""
    targets = np.select([mentions == PRESENT, mentions == UNCERTAIN_MENTION], [1.0, 0.5], 0.0)
    weights = np.where(mentions == NOT_MENTIONED, SILENCE_WEIGHT, 1.0)
    assert set(np.unique(mentions)) <= {NOT_MENTIONED, PRESENT, DENIED, UNCERTAIN_MENTION}
    return targets.astype(np.float32), weights.astype(np.float32)
