"""Known items: questions as people ask them, whose right answers are known beforehand.

Questions are made from documents that exist: an id, a name with its channel, a name with a slip of
the finger, a name with a metric and a period in other words than the text has, the title of a
record. They depend on the document, the seed and nothing else. Search was not tuned by them, and
must not be: they are what it is measured with.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final

from liftos_memory.domain.documents import Document, DocumentKind, own_id


class QuestionKind(Enum):
    """How a known item is asked for; the names are those of the contract."""

    ID = "ID"
    NAME = "NAME"
    TYPO = "TYPO"
    PERIOD = "PERIOD"
    TITLE = "TITLE"


@dataclass(frozen=True, slots=True)
class KnownItem:
    """A question and what answers it.

    Attributes:
        kind: How it is asked.
        query: The question.
        document: The document that it was made from.
        platform: Platform that it names; empty where it names none.
        period: Days that it names; None where it names none. Only a digest answers it then.
    """

    kind: QuestionKind
    query: str
    document: Document
    platform: str = ""
    period: tuple[date, date] | None = None

    def is_answered_by(self, found: Document) -> bool:
        """Tell whether a document answers the question, as the one it was made from does.

        A question for an object is answered by each of its documents; so it is by an object with
        the same name where the question does not tell them apart.
        """
        wanted = self.document
        if wanted.key is None or found.key is None:
            return found.record == wanted.record or (
                wanted.key is None
                and found.kind is wanted.kind
                and _folded(found.title) == _folded(wanted.title)
            )
        if self.platform and found.key.platform != self.platform:
            return False
        if self.kind is QuestionKind.ID:
            return own_id(found.key) == own_id(wanted.key)
        if self.period is not None and not (
            found.kind is DocumentKind.WEEKLY_DIGEST
            and found.start_date <= self.period[1]
            and found.end_date >= self.period[0]
        ):
            return False
        return _folded(name_of(found)) == _folded(name_of(wanted))


def known_items(documents: Sequence[Document], *, count: int, seed: int) -> list[KnownItem]:
    """Return questions about documents, each wording once, kinds in turn.

    Args:
        documents: What to ask for, in the order to take them.
        count: Questions at most; there are fewer where the documents do not give so many.
        seed: Another one gives other questions.
    """
    makers = [
        (kind, made)
        for kind, make in _MAKERS.items()
        for made in [_unfailing(make, documents, kind, seed)]
    ]
    items: dict[str, KnownItem] = {}
    while makers and len(items) < count:
        for maker in list(makers):
            item = next((each for each in maker[1] if _folded(each.query) not in items), None)
            if item is None:
                makers.remove(maker)
            elif len(items) < count:
                items[_folded(item.query)] = item
    return list(items.values())


def name_of(document: Document) -> str:
    """Return the name of a document's object, as its title has it."""
    found = _NAME.search(document.title)
    return found[1] if found else document.title


_NAME: Final = re.compile(r"“(.*)”", re.DOTALL)
_ROUNDS: Final = 4
"""Wordings that one document gives to each kind of question."""

_PLATFORMS: Final[Mapping[str, Sequence[str]]] = {
    "meta": ("facebook", "Meta", "instagram"),
    "google_ads": ("google", "Google Ads", "adwords"),
    "klaviyo": ("klaviyo", "email"),
}
_METRICS: Final[Mapping[str, Sequence[str]]] = {
    "spend": ("cost", "money spent", "ad budget used"),
    "clicks": ("clicks", "visits from ads"),
    "conversions": ("purchases", "conversions"),
    "revenue": ("sales", "turnover"),
    "impressions": ("views", "impressions"),
    "delivered": ("mails sent", "deliveries"),
}
"""What people say for the metrics that texts name."""

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

_Draw = random.Random


def _ask_id(document: Document, draw: _Draw) -> KnownItem | None:
    if document.key is None or not own_id(document.key):
        return None
    own = own_id(document.key)
    platform = draw.choice(_words_for(document.key.platform))
    query = draw.choice((f"{platform} {own}", f"id {own} on {platform}", f"{own} ({platform})"))
    return KnownItem(QuestionKind.ID, query, document, platform=document.key.platform)


def _ask_name(document: Document, draw: _Draw) -> KnownItem | None:
    if document.key is None:
        return None
    name = name_of(document)
    platform = draw.choice(_words_for(document.key.platform))
    query = draw.choice(
        (
            f"{name} {platform}",
            f"what is {name.lower()} on {platform} like",
            f"{platform} {name.upper()}",
            f"show me {platform}: {name.lower()}",
        )
    )
    return KnownItem(QuestionKind.NAME, query, document, platform=document.key.platform)


def _ask_typo(document: Document, draw: _Draw) -> KnownItem | None:
    if document.key is None:
        return None
    name = _with_slip(name_of(document), draw)
    if name is None:
        return None
    platform = draw.choice(_words_for(document.key.platform))
    query = draw.choice((f"{name} {platform}", f"{platform} {name.lower()}"))
    return KnownItem(QuestionKind.TYPO, query, document, platform=document.key.platform)


def _ask_period(document: Document, draw: _Draw) -> KnownItem | None:
    week = document.week_start
    if document.key is None or week is None:
        return None
    name = name_of(document)
    metric = draw.choice(_metrics_of(document.text))
    platform = draw.choice(_words_for(document.key.platform))
    iso = week.isocalendar()
    days = (document.start_date, document.end_date)
    month = _MONTHS[week.month - 1]
    query, period = draw.choice(
        (
            (f"{metric} of {name} on {platform} in week {iso.week} {iso.year}", days),
            (f"{platform} {name}: {metric} {iso.year}-W{iso.week:02d}", days),
            (
                f"{platform} {metric} of {name.lower()}, week of {week.day} {month} {week.year}",
                days,
            ),
            (f"{platform} {metric} for {name} in {month} {week.year}", _month_of(week)),
        )
    )
    return KnownItem(
        QuestionKind.PERIOD, query, document, platform=document.key.platform, period=period
    )


def _ask_title(document: Document, draw: _Draw) -> KnownItem | None:
    if document.key is not None:
        return None
    words = document.title.split()
    if len(words) < 2:
        return None
    query = draw.choice(
        (
            document.title.lower(),
            f"what was said about {document.title}",
            # The first word is the one that people leave out.
            " ".join(words[1:]) if len(words) > 3 else f"{document.title} {document.scope}",
        )
    )
    return KnownItem(QuestionKind.TITLE, query, document)


_MAKERS: Final[Mapping[QuestionKind, Callable[[Document, _Draw], KnownItem | None]]] = {
    QuestionKind.ID: _ask_id,
    QuestionKind.NAME: _ask_name,
    QuestionKind.TYPO: _ask_typo,
    QuestionKind.PERIOD: _ask_period,
    QuestionKind.TITLE: _ask_title,
}


def _unfailing(
    make: Callable[[Document, _Draw], KnownItem | None],
    documents: Sequence[Document],
    kind: QuestionKind,
    seed: int,
) -> Iterator[KnownItem]:
    """Yield the questions of one kind, each document once before any comes again."""
    for time in range(_ROUNDS):
        for document in documents:
            draw = random.Random(f"{seed} {kind.value} {time} {document.document_id}")  # noqa: S311
            item = make(document, draw)
            if item is not None:
                yield item


def _with_slip(name: str, draw: _Draw) -> str | None:
    """Return a name with two letters of its longest word exchanged, one left out or one doubled.

    None where no word has five letters: a slip in a shorter one leaves little to know it by.
    """
    words = re.findall(r"[A-Za-z]{5,}", name)
    if not words:
        return None
    word = max(words, key=len)
    # People get the first letter right.
    at = draw.randrange(1, len(word) - 1)
    slipped = draw.choice(
        (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        )
    )
    return None if slipped == word else name.replace(word, slipped, 1)


def _words_for(platform: str) -> Sequence[str]:
    return _PLATFORMS.get(platform, (platform.replace("_", " "),))


def _metrics_of(text: str) -> Sequence[str]:
    return [
        word for metric, words in _METRICS.items() if metric in text.lower() for word in words
    ] or ["results"]


def _month_of(day: date) -> tuple[date, date]:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return day.replace(day=1), date.fromordinal(following.toordinal() - 1)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
