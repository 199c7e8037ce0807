"""The lexicon of marketing words: which dimensions a query names, and how much it wishes of each.

    "big campaigns with poor conversion"  ->  scale 1, conversion 0
    "stable and not seasonal"             ->  volatility 0, seasonality 0

A word of direction ("big", "cheap") stands for itself. A word for a dimension ("roas", "growth")
takes the degree that stands at most two words before it ("high", "poor"), or else means a high
one. "Not", "without" or "less" at most two words before turns it around. Both stand for the next
word only, or for two with "and" or "or" between them. Words match as they are, or else by stem, as
in documents. A dimension that is named twice takes the mean.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from liftos_memory.domain.concepts import Dimension, Targets
from liftos_memory.domain.lexical import lexical_terms

DIRECTIONS: Final[Mapping[Dimension, tuple[str, str]]] = {
    Dimension.SCALE: (
        "big bigger biggest large larger largest huge major massive heavy",
        "small smaller smallest tiny little minor",
    ),
    Dimension.REACH: ("broad wide mass", "niche narrow"),
    Dimension.EFFICIENCY: (
        "efficient profitable lucrative effective winning winner winners",
        "inefficient unprofitable wasteful wasted losing loser losers ineffective",
    ),
    Dimension.ENGAGEMENT: ("engaging catchy clicked", "unengaging boring ignored"),
    Dimension.CONVERSION: ("converting", "nonconverting"),
    Dimension.VALUE: ("premium luxury", "bargain"),
    Dimension.PRICE: (
        "expensive costly pricey dear",
        "cheap cheaper cheapest inexpensive affordable",
    ),
    Dimension.GROWTH: (
        "growing rising increasing scaling climbing accelerating improving booming up",
        "declining falling decreasing shrinking dropping slowing fading worsening down",
    ),
    Dimension.VOLATILITY: (
        "volatile erratic unstable fluctuating spiky irregular unpredictable",
        "stable steady constant consistent flat predictable regular reliable",
    ),
    Dimension.SEASONALITY: ("seasonal", "evergreen unseasonal"),
    Dimension.RECENCY: (
        "recent current active live running ongoing",
        "dormant inactive stopped paused ended dead past former",
    ),
    Dimension.LONGEVITY: (
        "old established mature lasting longstanding",
        "new fresh young launched",
    ),
}
"""Words of direction by dimension: those for its high end, and those for its low end."""

DIMENSION_WORDS: Final[Mapping[Dimension, str]] = {
    Dimension.SCALE: "scale spend spending budget size",
    Dimension.REACH: "reach impressions audience awareness visibility",
    Dimension.EFFICIENCY: "efficiency roas roi return returns profitability profit performance",
    Dimension.ENGAGEMENT: "engagement ctr clickthrough click clicks opens interaction",
    Dimension.CONVERSION: "conversion conversions cvr",
    Dimension.VALUE: "value aov basket",
    Dimension.PRICE: "price cost costs cpc cpm",
    Dimension.GROWTH: "growth trend momentum",
    Dimension.VOLATILITY: "volatility variation fluctuation stability",
    Dimension.SEASONALITY: "seasonality",
    Dimension.RECENCY: "recency activity",
    Dimension.LONGEVITY: "longevity age history",
}
"""Words for each dimension; "stability" is the one that names a low end."""

DEGREES: Final[Mapping[float, str]] = {
    1.0: "high higher highest strong stronger strongest good better best top great excellent most",
    0.5: "medium average moderate typical usual normal middling",
    0.0: "low lower lowest weak weaker weakest poor poorer poorest bad worse worst least",
}
"""Words of degree, which say how much is wished of the dimension that follows."""

NEGATIONS: Final = frozenset({"not", "no", "without", "non", "never", "less"})

LEXICON_WORDS: Final = NEGATIONS | {
    word
    for words in (
        *(words for ends in DIRECTIONS.values() for words in ends),
        *DIMENSION_WORDS.values(),
        *DEGREES.values(),
    )
    for word in words.split()
}
"""Every word of the lexicon."""

_WORDS_BETWEEN: Final = 2
_INVERSE: Final = frozenset({"stability"})


def wished(query: str) -> Targets:
    """Return the dimensions that a query names, and the percentile that it wishes of each.

    They come in the order of the dimensions; none where no word is in the lexicon.
    """
    found: dict[Dimension, list[float]] = {}
    for dimension, target in _named(query):
        found.setdefault(dimension, []).append(target)
    return {
        dimension: sum(found[dimension]) / len(found[dimension])
        for dimension in Dimension
        if dimension in found
    }


def _named(query: str) -> Iterator[tuple[Dimension, float]]:
    words = "".join(each if each.isalnum() else " " for each in query).casefold().split()
    degree, degree_place, negation_place = 1.0, _FAR, _FAR
    for place, word in enumerate(words):
        is_negated = place - negation_place <= _WORDS_BETWEEN
        # "Poor reach and conversion" is poor in both; else a word stands for what follows next.
        reaches_on = place + 1 if words[place + 1 : place + 2] in (["and"], ["or"]) else _FAR
        meaning = _MEANINGS.get(word) or _MEANINGS_OF_STEMS.get(_stem(word))
        if word in NEGATIONS:
            negation_place = place
        elif isinstance(meaning, float):
            degree, degree_place = (1 - meaning if is_negated else meaning), place
            negation_place = _FAR
        elif meaning is not None:
            dimension, target, takes_degree = meaning
            if takes_degree and place - degree_place <= _WORDS_BETWEEN:
                target = degree if target else 1 - degree
                degree_place = reaches_on
            yield dimension, 1 - target if is_negated else target
            negation_place = reaches_on if is_negated else _FAR


def _stem(word: str) -> str:
    return next(iter(lexical_terms(word)), word)


_FAR: Final = -_WORDS_BETWEEN - 1
_Meaning = float | tuple[Dimension, float, bool]
"""A degree; or a dimension, what is wished of it, and whether a degree before it says otherwise."""

_MEANINGS: Final[Mapping[str, _Meaning]] = {
    **{
        word: (dimension, 0.0 if word in _INVERSE else 1.0, True)
        for dimension, words in DIMENSION_WORDS.items()
        for word in words.split()
    },
    **{
        word: (dimension, target, False)
        for dimension, ends in DIRECTIONS.items()
        for target, words in zip((1.0, 0.0), ends, strict=True)
        for word in words.split()
    },
    **{word: degree for degree, words in DEGREES.items() for word in words.split()},
}
# Of words with one stem ("scale", "scaling") the first counts, which is that for the dimension.
_MEANINGS_OF_STEMS: Final[Mapping[str, _Meaning]] = {
    _stem(word): meaning for word, meaning in reversed([*_MEANINGS.items()])
}
