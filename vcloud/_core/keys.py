"""The key of an instance: ``provider/id``, one name for it over all providers.

Bulk runs name instances so in their journals. :func:`vcloud._core.client.handle_of` makes a handle
of the two parts.
"""

from __future__ import annotations

from collections.abc import Collection

from vcloud._core.arguments import identifier
from vcloud.errors import InvalidArgumentError

__all__ = ["instance_key", "provider_and_id", "split_key"]


def instance_key(provider: str, id: str) -> str:
    """The key of an instance: ``computers/100``. An id may contain slashes; a provider does not."""
    return f"{provider}/{id}"


def split_key(key: str, providers: Collection[str]) -> tuple[str, str]:
    """The provider and the id in a key.

    Args:
        key: ``provider/id``. What follows the first slash is the id.
        providers: the names of all providers.

    Raises:
        InvalidArgumentError: it is not a string of this form, names no provider, or the id is not
            valid.
    """
    if hasattr(type(key), "as_instance"):
        raise InvalidArgumentError(
            f"key must be a string such as 'computers/100', not {type(key).__name__}: it has the "
            "methods that all providers share in its as_instance()"
        )
    if not isinstance(key, str):
        raise InvalidArgumentError(
            f"key must be a string such as 'computers/100', not {type(key).__name__}: {key!r:.80}"
        )
    provider, slash, id = key.partition("/")
    if not slash:
        raise InvalidArgumentError(
            f"key must name the provider too: 'PROVIDER/ID', such as 'computers/100', "
            f"not {key!r:.80}; the providers are {', '.join(providers)}"
        )
    if provider not in providers:
        raise InvalidArgumentError(
            f"key must begin with a provider: {provider!r:.80} is none of {', '.join(providers)}"
        )
    return provider, identifier(id, "id")


def provider_and_id(provider: str, id: object, providers: Collection[str]) -> tuple[str, object]:
    """The provider and the id, given as two arguments, or as a key alone.

    Args:
        provider: the name of a provider; if ``id`` is None, a key.
        id: the id, which is not checked here, or what has it.
        providers: the names of all providers.

    Raises:
        InvalidArgumentError: there is no such provider, or the id or the key is not valid.
    """
    if id is None:
        return split_key(provider, providers)
    if provider not in tuple(providers):  # also for what has no hash
        raise InvalidArgumentError(
            f"provider must be one of {', '.join(providers)}, not {provider!r:.80}"
        )
    return provider, id
