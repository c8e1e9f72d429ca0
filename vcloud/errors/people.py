"""What an error says to a person: the words of a service where they are useful, otherwise ours.

The person uses a program that somebody built with vcloud. Addresses, arguments, headers and the
words of gateways and databases mean nothing to them. Imports nothing of the package but texts, so
that its errors can use it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from vcloud.errors.text import printable, shortened

__all__ = ["message_for_people", "message_of"]

#: What each kind of error means. A subclass without an entry has that of its nearest base.
_MEANINGS: Final = {
    "VCloudError": "Something went wrong.",
    "ConfigurationError": "This application is not set up correctly.",
    "InvalidArgumentError": "A value is not valid.",
    "TransportError": "The connection to the service was lost.",
    "ConnectError": "The service cannot be reached.",
    "RequestTimeout": "The service did not answer in time.",
    "APIError": "The service could not do this.",
    "AuthenticationError": "The service did not accept the credentials.",
    "PermissionDeniedError": "This is not allowed.",
    "NotFoundError": "This was not found. It may have been removed.",
    "ConflictError": "This is not possible in the present state.",
    "InvalidRequestError": "The service does not accept this request.",
    "RateLimitError": "There are too many requests at the moment.",
    "InsufficientFundsError": "The balance does not cover this.",
    "CapacityError": "There is no free capacity at the moment.",
    "ServerError": "The service has a problem at the moment.",
    "DecodeError": "The service gave an answer that cannot be used.",
    "LimitExceededError": "The answer of the service is too large.",
    "UnsupportedError": "This is not possible with this kind of machine.",
    "CleanupError": "A machine may still be running and cost money.",
    "WaitTimeout": "This took too long.",
    "WaitFailed": "This did not succeed.",
    "SessionStoppedError": "The session has ended, or was stopped.",
    "StreamingProtocolError": "This session shows its desktop in another way.",
    "AgentRejectedError": "The service did not accept this agent.",
    "ApprovalTimeoutError": "Nobody has approved this agent yet.",
    "DuplicateAgentError": "Another agent of this name is running.",
    "NoStreamError": "The desktop has no screen to show.",
}
#: Errors in which the service's words tell more than ours.
_TELLING: Final = frozenset(
    {
        "PermissionDeniedError",
        "NotFoundError",
        "ConflictError",
        "InvalidRequestError",
        "InsufficientFundsError",
        "CapacityError",
    }
)
#: Errors that may be over when one tries again.
_PASSING: Final = frozenset(
    {"TransportError", "ConnectError", "RequestTimeout", "CapacityError", "ServerError"}
)
_UNKNOWN: Final = "It may have been carried out all the same: look before you try again."
_LATER: Final = "Please try again later."

#: Characters of words that a person reads at a glance.
MAX_WORDS: Final = 200
#: Words that only a developer understands.
_JARGON: Final = (
    "traceback exception stack panic undefined null sql sqlstate pq constraint duplicate relation "
    "json unmarshal validation potential http https tcp dial socket upstream gateway proxy nginx "
    "nonce hmac signature jwt bearer header headers localhost url"
)
#: Signs that words are not meant for a person: an address, a path, markup, code, our own words
#: about an answer that has none.
_INTERNAL: Final = re.compile(
    r"://|www\.|[<>{}\[\]\\`=]|\b0x|\b\d{1,3}(?:\.\d{1,3}){3}\b|[0-9a-f]{32}|(?:^|\s)/\w"
    r"|\w::|\w\(|\b(?:[a-z]+_){2,}[a-z]+\b|(?-i:\b[A-Z]+(?:_[A-Z]+)+\b)"
    r"|\.(?:go|py|js|rb|java|php)\b|\bapi key\b|\bno reason given\b|\bis not shown\b"
    r"|^the answer (?:began|was empty)"
    rf"|\b(?:{'|'.join(_JARGON.split())})\b",
    re.IGNORECASE,
)


def message_for_people(error: Any) -> str:
    """One to three sentences for a person, without addresses and internals.

    Args:
        error: a :class:`~vcloud.VCloudError`. It is Any, because errors import this module.
    """
    inner = vars(error).get("error")
    if hasattr(inner, "user_message"):
        return str(inner.user_message)
    kinds = [kind.__name__ for kind in type(error).__mro__]
    meaning = next(_MEANINGS[kind] for kind in kinds if kind in _MEANINGS)
    sentences = [_told(error, kinds) or meaning, *_more(error)]
    if error.outcome_unknown:
        sentences.append(_UNKNOWN)
    elif not _PASSING.isdisjoint(kinds) and getattr(error, "retry_after", None) is None:
        sentences.append(_LATER)
    return " ".join(sentences)


def message_of(error: BaseException) -> str:
    """The ``user_message`` of an error; of one that is not of vcloud, that something went wrong."""
    return str(getattr(error, "user_message", _MEANINGS["VCloudError"]))


def _told(error: Any, kinds: list[str]) -> str:
    """The words that say more than the kind of the error; empty if there are none."""
    if "InvalidArgumentError" in kinds and error.args:
        # What follows a semicolon is advice for the developer. The argument is named as a person
        # would: expires in.
        what, _, rest = str(error.args[0]).partition(";")[0].partition(" ")
        return _useful(f"{what.replace('_', ' ')} {rest}")
    if _TELLING.isdisjoint(kinds):
        return ""
    return _useful(error.message) or _useful(error.meaning)


def _useful(words: str) -> str:
    """Words of a service as a sentence; empty if they are not for a person."""
    words = words.strip()
    if not 3 <= len(words) <= MAX_WORDS or not words.isprintable() or _INTERNAL.search(words):
        return ""
    return f"{words[0].upper()}{words[1:]}{'' if words[-1] in '.!?' else '.'}"


def _more(error: Any) -> list[str]:
    """Sentences from what an error knows: a state, a time, the machines to look after."""
    more: list[str] = []
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        more.append(f"Please try again in {_lasting(wait)}.")
    last = getattr(error, "last", None)
    if last is not None:
        more.append(f"Its last state was: {_word(last)}.")
    ids = getattr(error, "ids", ())
    if ids:
        more.append(f"Look after: {', '.join(_word(one) for one in ids[:10])}.")
    return more


def _word(text: object) -> str:
    """A state or an id, on one line."""
    return printable(shortened(str(text).replace("_", " "), 60))


def _lasting(seconds: float) -> str:
    """A time to wait, rounded up, in the unit that a person would use."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds > 2 * size:
            return f"{-int(-seconds // size)} {unit}s"
    whole = max(1, -int(-seconds // 1))
    return f"{whole} second{'' if whole == 1 else 's'}"
