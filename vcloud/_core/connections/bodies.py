"""Reading the body of an answer, within a limit."""

from __future__ import annotations

import aiohttp

from vcloud._core.request import MAX_REFUSAL, Response
from vcloud.errors import LimitExceededError


async def read_answer(answer: aiohttp.ClientResponse, limit: int) -> Response:
    """Read an answer with its whole body, or a refusal with the beginning of its body.

    Args:
        answer: the head came.
        limit: the most bytes of a success, decompressed. A refusal is read to :data:`MAX_REFUSAL`
        bytes.

    Raises:
        LimitExceededError: a success is larger.
    """
    refused = not 200 <= answer.status < 300
    # Reading to the end releases the connection; a read that fails or is cancelled closes it.
    body, cut = await beginning(answer, min(limit, MAX_REFUSAL) if refused else limit)
    if cut and not refused:
        body = b""  # the error holds this frame
        raise LimitExceededError(
            f"the answer ({answer.status}) is larger than the {limit} bytes that max_response of "
            "the Endpoint allows; give Endpoint(max_response=...) more, or ask for less at a time"
        )
    return Response(answer.status, answer.headers, body, cut)


async def beginning(answer: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body, decompressed, or its first ``limit`` bytes; whether there is more."""
    content = answer.content
    body = bytearray()
    # A body that is declared too long is not read at all, if its beginning is not needed.
    ok = 200 <= answer.status < 300 and "Content-Encoding" not in answer.headers
    declared = answer.content_length or 0 if ok else 0
    try:
        # Part by part: if all is read at once, aiohttp decompresses a whole decompression bomb.
        while max(declared, len(body)) <= limit:
            part = await content.readany()
            if not part:
                # The read returns nothing, and releases the connection.
                return bytes(body) + await answer.read(), False
            body += part
    except BaseException:
        answer.close()
        raise
    # Close the connection instead of waiting for the rest of the answer on it.
    answer.close()
    return bytes(body[:limit]), True
