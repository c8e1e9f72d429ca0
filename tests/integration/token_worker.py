"""A worker that shares its tokens: for each line that it reads, it calls StreamSpace once."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from vcloud import BearerAuth, Endpoint, StreamSpace, VCloudError


async def main(url: str, user: str, password: str, store: str) -> None:
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(  # type: ignore[method-assign]
        f"{record.levelname} {record.getMessage()}"
    )
    logging.getLogger("vcloud.auth").addHandler(handler)
    logging.getLogger("vcloud.auth").setLevel(logging.INFO)
    auth = BearerAuth.login(user, password, store=store or None)
    async with StreamSpace(Endpoint(url, auth=auth)) as client:
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            try:
                await client.agents.stats()
                said = "ok"
            except VCloudError as error:
                said = f"{type(error).__name__}: {error}"
            print(json.dumps({"said": said, "log": records}), flush=True)
            records.clear()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
