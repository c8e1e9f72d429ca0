"""What to write instead of a name that does not exist: the nearest names, from the real ones.

The names are taken from signatures, fields and classes, so nothing here has to follow a change of
a model. The words below are the only table: words that people use for the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from vcloud.errors.text import printable, shortened

__all__ = [
    "VOCABULARY",
    "did_you_mean",
    "joined",
    "nearest",
    "same_thing",
    "shown_name",
    "words_of",
]

#: Characters of a wrong name that are compared and shown.
MAX_NAME: Final = 60
#: Names that a message offers.
MAX_OFFERED: Final = 3
#: The shortest wrong name that is looked for inside of others.
MIN_PART: Final = 4
#: How alike two names must be, from 0 to 1, as difflib counts.
ALIKE: Final = 0.75

#: Words for one thing, by what most people would type.
_GROUPS: Final = (
    "state status phase",
    "url uri link href host endpoint server",
    "stop shutdown terminate kill halt close end poweroff",
    "delete remove destroy",
    "start launch boot resume poweron",
    "bash shell run exec execute command cmd",
    "hibernate suspend pause sleep",
    "refresh reload fetch get update sync",
    "list all iter",
    "find search lookup query",
    "count number num amount times clicks",
    "lifetime duration ttl expires expiry timeout timelimit",
    "password secret passwd pwd",
    "login username user",
    "auth token credentials key apikey",
    "dict json asdict dump serialize",
    "created creation creating",
    "retry retries attempts",
    "limit limits ratelimit max maximum",
    "concurrency parallel parallelism workers connections",
    "verify ssl tls cert",
)
_GROUP_OF: Final = {word: line.split(" ", 1)[0] for line in _GROUPS for word in line.split()}
#: All these words: what people type who do not know the name.
VOCABULARY: Final = (
    *_GROUP_OF,
    *[
        "model_dump",
        "as_dict",
        "wait",
        "wait_for",
        "left_click",
        "right_click",
        "click_mouse",
        "move_mouse",
        "drag_mouse",
        "type_text",
        "press_key",
        "press_keys",
        "take_screenshot",
    ],
)
#: Words that say little: they neither make two names alike nor different.
_FILLERS: Final = frozenset({"a", "at", "by", "for", "is", "model", "of", "on", "the", "to"})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_IN_WORD: Final = re.compile(r"[^a-z0-9]+")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case: ``createdAt`` and ``created_at`` are the same."""
    return tuple(filter(None, _NOT_IN_WORD.split(_CAMEL.sub("_", name[:MAX_NAME]).lower())))


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known names that somebody who wrote ``name`` may have meant, the likeliest first.

    Args:
        name: the wrong name.
        known: the names that there are. One with dots is a path: ``user.email``.
    """
    rated = [(_likeness(name, one), -place, one) for place, one in enumerate(known)]
    rated = sorted([one for one in rated if one[0] > 0], reverse=True)
    # Names that are much less likely than the best would only distract.
    return tuple([one for rate, _, one in rated if rate > rated[0][0] - 0.15][:MAX_OFFERED])


def _likeness(name: str, known: str) -> float:
    """How likely it is that one name was meant by the other: 0 for not at all, at most 3."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - only a mistake needs it

    ours, theirs = words_of(name), words_of(known)
    literal, others = set(ours) - _FILLERS, set(theirs) - _FILLERS
    spelt_alike = "".join(ours) == "".join(theirs)
    if spelt_alike or (literal and set(map(_singular, literal)) == set(map(_singular, others))):
        return 3.0 if spelt_alike else 2.5
    # All words of the one are words of the other: status and friendly_status.
    if literal and (literal <= others or (others and others <= literal)):
        return 2.0 + 0.1 * len(literal & others) / len(literal | others)
    same = {_group(word) for word in ours if word not in _FILLERS}
    others = {_group(word) for word in theirs if word not in _FILLERS}
    if same and same == others:
        return 2.0
    shared = same & others
    if shared and shared in (same, others):
        return 1.0 + len(shared) / len(same | others)
    name, known = "".join(ours), "".join(theirs)
    if len(name) >= MIN_PART and name in known:
        return 1.0
    ratio = SequenceMatcher(None, name, known).ratio()
    return ratio if ratio >= ALIKE else 0.0


def same_thing(name: str, word: str) -> bool:
    """Whether a name is a word that people use for the same thing as ``word``."""
    words = words_of(name)
    return len(words) == 1 and _GROUP_OF.get(words[0]) == _GROUP_OF[word]


def _group(word: str) -> str:
    """The first word of the group that this one is in; else the word itself, in the singular."""
    singular = _singular(word)
    return _GROUP_OF.get(word) or _GROUP_OF.get(singular, singular)


def _singular(word: str) -> str:
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the nearest names, as a part of a message; empty when none is near."""
    return _question(nearest(name, known))


def _question(near: Sequence[str]) -> str:
    return f"did you mean {joined(near, 'or')}?" if near else ""


def joined(names: Sequence[str], last: str = "and") -> str:
    """Names as a list in a sentence: ``x, y and z``."""
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def shown_name(name: object) -> str:
    """A wrong name as a message shows it."""
    return repr(printable(shortened(str(name), MAX_NAME)))
