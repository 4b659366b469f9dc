"""Stage 1 without a teacher: word lists and clause patterns find what simple sentences say about quality.

It reads "the trees in the background are blurry", "a noisy sky", "the dog has lost its texture details"; irony, negation
over clauses and long sentences are beyond it. A teacher finds more; this is what runs with no model at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Effect = Literal["none", "positive", "negative"]
Tagged = tuple[str, str, Effect]  # phrase, quality, effect


@dataclass(frozen=True)
class Aspect:
    """One side of quality: patterns for bad and for good, and the plain word for each."""

    name: str
    bad: str
    good: str
    if_bad: str
    if_good: str


ASPECTS = (
    Aspect(
        "clarity",
        r"blurr?(?:y|ed|s)?|out[- ]of[- ]focus|unfocused|unclear|fuzzy|hazy|smeared|indistinct|low clarity|soft",
        r"sharp|clear|crisp|in focus|well[- ]focused|well[- ]defined|distinct|high clarity",
        "blurry",
        "sharp",
    ),
    Aspect("noise", r"nois[ey]|grainy|(?:film )?grain|speckled", r"clean|free of noise|noise[- ]free|smooth", "noisy", "clean"),
    Aspect(
        "exposure",
        r"(?:over|under)[- ]?expos(?:ed|ure)|blown[- ]out|washed[- ]out|too bright|glaring|too dark|dark|"
        r"poorly lit|dim(?:ly lit)?|insufficient(?:ly lit| light\w*)|weak light\w*|black",
        r"well[- ]exposed|well[- ]lit|bright(?:ly lit)?|sufficient light\w*|evenly lit",
        "badly exposed",
        "well exposed",
    ),
    Aspect(
        "detail",
        r"(?:has |have )?(?:lost|loses?|lacks?|lacking|missing|without|loss of|few|insufficient|"
        r"not enough)(?: \w+){0,3}? (?:details?|textures?)|"
        r"(?:details?|textures?)(?: \w+){0,2} (?:lost|missing|not visible)|indiscernible|unrecogni[sz]able",
        r"(?:rich|abundant|clear|fine|good|plenty)(?: \w+){0,3}? (?:details?|textures?)|detailed|"
        r"retain\w*(?: \w+){0,4} details?|(?:well |mostly |clearly )?(?:preserved|retained|visible)",
        "short of detail",
        "rich in detail",
    ),
    Aspect(
        "color",
        r"faded|pale|dull|monotonous|unnatural|discolored|overly saturated|oversaturated",
        r"vivid|vibrant|colou?rful|rich(?:ly)? colou?r(?:s|ed)?|natural colou?rs?",
        "unnatural in color",
        "natural in color",
    ),
    Aspect(
        "compression",
        r"pixel(?:l?ated|ation)|block(?:y|ing)|compress(?:ed|ion)|jagged|aliase?d|aliasing|"
        r"distort(?:ed|ion)|artifacts?|ghosting|banding",
        r"free of artifacts",
        "distorted",
        "free of artifacts",
    ),
    Aspect(
        "contrast",
        r"low[- ]contrast|flat|lacks? contrast",
        r"high[- ]contrast|(?:strong|good) contrast",
        "flat",
        "rich in contrast",
    ),
)
_VERB = (
    r"(?:is|are|was|were|looks?|appears?|seems?|becomes?|remains?|has|have|had|lacks?|lost|loses?|retains?|keeps?|shows?|"
    r"suffers?|contains?|exhibits?|displays?|lowers?|makes?|reduces?|spoils?|improves?|adds?)"
)
_LINKS = "but|while|whereas|although|though|however|because|so that"
_CLAUSE = re.compile(rf"[.;:!?]+(?:\s+|$)|,\s*|\s+(?=(?:{_LINKS})\s)", re.IGNORECASE)
_LINK = re.compile(rf"^(?:(?:{_LINKS}|and|so|also|therefore|which)\s+)+", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+(?=(?:the|a|an|its|some|most|all)\s)", re.IGNORECASE)
_SUBJECT = re.compile(rf"^(?P<subject>(?:[\w'-]+\s+){{0,9}}?)(?:also\s+)?(?={_VERB}\b)", re.IGNORECASE)
_PART_OF = re.compile(
    r"^(?:\w+\s+){0,3}(?:details?|textures?|edges?|clarity|outlines?|focus|exposure|colou?rs?|subject|object|"
    r"surface|parts?|contours?|lines?)\s+(?:of|on|in)\s+(?P<thing>.+)$",
    re.IGNORECASE,
)
_ARTICLE = re.compile(
    r"^(?:(?:the|a|an|its|his|her|their|this|these|those|that|some|most|all|both|with|overall|of|in|even|there|"
    r"only|very|quite|slightly|somewhat)\s+)+",
    re.IGNORECASE,
)
_NOTHING = frozenset(  # what nobody could draw a box around
    "image images picture pictures photo photograph shot frame quality composition content scene lighting light color colors "
    "colour colours focus clarity exposure contrast brightness saturation texture textures detail details noise blur resolution "
    "it they there this which that everything rest subject object objects main overall edges edge tone tones effect part parts "
    "aspect sharpness he she him her them who one i we you level view depth impression".split()
)


def triples(description: str) -> list[Tagged]:
    """(phrase, quality, effect) of each clause that judges something one could point at, in order."""
    judgements: list[Tagged] = []
    carried = ""
    for clause in _clauses(description):
        subject = _SUBJECT.match(clause)
        if subject is None:
            judged = list(_attributes(clause))
            carried = carried if judged else clause  # "the main subject, the dog, has ...": what the next clause is about
        else:
            carried = subject["subject"].strip() or carried
            rest = clause[subject.end() :]
            judgement = quality(rest)
            names = [name for part in re.split(r"\s+and\s+", carried) if is_object(name := _named(part))]
            judged = [(name, *judgement) for name in names] if judgement else []
            if not names:  # "the image has a blurry background", "a noisy sky spoils it"
                judged = [*_attributes(carried), *_attributes(rest)]
            elif not judgement:
                judged = list(_attributes(carried))
        judgements += judged
    once: dict[str, Tagged] = {}
    for tagged in judgements:
        once.setdefault(tagged[0].lower(), tagged)
    return list(once.values())


def _clauses(description: str) -> Iterator[str]:
    """Clauses without their linking words; "the trees and the sky are dark" stays whole, "... are dark and the sky is" not."""
    for part in filter(None, map(str.strip, _CLAUSE.split(description))):
        whole = ""
        for piece in _AND.split(_LINK.sub("", part)):
            if whole and re.search(rf"\b{_VERB}\b", whole, re.IGNORECASE) and _SUBJECT.match(piece):
                yield whole
                whole = piece
            else:
                whole = f"{whole} and {piece}" if whole else piece
        yield whole


def quality(clause: str) -> tuple[str, Effect] | None:
    """What a clause says about quality, from its first to its last word of one mind, and the effect; None if nothing."""
    spans = _words(clause)
    if not spans:
        return None
    start, end, effect = spans[0]
    if re.search(r"\b(?:not|never|hardly|isn't|aren't|no)\b(?: \w+)? $", clause[:start], re.IGNORECASE):
        return f"not {clause[start:end]}", "negative" if effect == "positive" else "positive"
    return clause[start : max(span[1] for span in spans if span[2] == effect)], effect


def _words(clause: str) -> list[tuple[int, int, Effect]]:
    """Where the words of the lists stand, with their effect; a longer match wins over those inside it."""
    spans = [
        (*match.span(), effect)
        for aspect in ASPECTS
        for effect, words in _patterns(aspect)
        for match in re.finditer(rf"\b(?:{words})\b", clause, re.IGNORECASE)
    ]
    return sorted(
        {
            span
            for span in spans
            if not any(span[:2] != other[:2] and other[0] <= span[0] and span[1] <= other[1] for other in spans)
        }
    )


def _patterns(aspect: Aspect) -> tuple[tuple[Effect, str], tuple[Effect, str]]:
    return ("negative", aspect.bad), ("positive", aspect.good)


def _attributes(clause: str) -> Iterator[Tagged]:
    """In "a blurry background and clear focus on the dog": what follows each quality, up to a verb, `and` or the end."""
    for start, end, effect in _words(clause):
        after = re.split(rf"\s+(?:and|with|that|which|due|by|from|{_VERB})\b", f"{clause[end:]} ", maxsplit=1)[0]
        name = _named(after)
        if after.startswith(" ") and is_object(name) and not _words(name):
            yield name, clause[start:end], effect


def aspect_of(judgement: str) -> tuple[Aspect, bool] | None:
    """The side of quality that some words are about, and whether they call it good; None if no list has them."""
    bare = re.sub(r"^not ", "", judgement, flags=re.IGNORECASE)
    best = None
    for aspect in ASPECTS:
        for good, words in ((False, aspect.bad), (True, aspect.good)):
            match = re.search(rf"\b(?:{words})\b", bare, re.IGNORECASE)
            if match and (best is None or (match.start(), -len(match[0])) < best[0]):
                best = (match.start(), -len(match[0])), aspect, good
    return None if best is None else (best[1], best[2] == (bare == judgement))


def is_object(phrase: str) -> bool:
    """Whether a phrase may name something one could point at: its head, the word before `of` or `in`, is no quality word."""
    words = head(phrase).lower().split()
    return bool(words) and len(phrase.split()) <= 8 and words[-1] not in _NOTHING and not words[-1].isdigit()


def head(phrase: str) -> str:
    """`trees` of `trees in the background`."""
    return re.split(r"\s+(?:in|of|on|at|behind|under|near|with|from)\s+", phrase, flags=re.IGNORECASE)[0]


def _named(words: str) -> str:
    """A noun phrase without articles; `texture of the wall` is about the wall."""
    name = _ARTICLE.sub("", words.strip())
    if part := _PART_OF.match(name):
        name = _ARTICLE.sub("", part["thing"])
    return name.strip()
