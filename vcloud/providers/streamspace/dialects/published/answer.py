"""What the published server's answers have in common.

Each answer stands in the module of the calls that get it, as a class that is another spelling of a
model. Its attributes are the model's fields; an attribute that the model lacks is not kept.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from vcloud._core.decoding.spelled import Spelled
from vcloud.errors import DecodeError

__all__ = ["Answer", "foreign"]


class Answer(Spelled, rename="camel", kw_only=True):
    """The base of what is answered on its own: a resource, a list, or a login.

    Attributes:
        documented: what only the other dialect writes.
    """

    documented: msgspec.Raw | UnsetType = UNSET

    def finish(self) -> Any:
        """See :meth:`Spelled.finish`.

        Raises:
            DecodeError: the answer is in the other dialect.
        """
        if self.documented is not UNSET:
            raise DecodeError(
                "the answer is written as StreamSpace's API document says, and the client expects"
                ' the published server: give dialect="documented"'
            )
        return super().finish()


def foreign(name: str) -> Any:
    """The field ``documented``, for a name that only the other dialect writes."""
    return msgspec.field(default=UNSET, name=name)
