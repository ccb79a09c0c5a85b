"""The page's address is found from the bare one; what is behind it has tests of its own."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from hanlin.serving.app import lead_to_page


@pytest.mark.parametrize("path", ["/", "/ui"])
def test_the_bare_address_leads_to_the_page(path):
    app = FastAPI()
    lead_to_page(app)

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    reply = asyncio.run(ask())
    assert (reply.status_code, reply.headers["location"]) == (307, "/ui/")
