"""Requests drawn from the REST API's own description: each is answered as the description says."""

import os
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from mien.model import load_model
from mien.serve import Limits, create_app

EXAMPLES = int(os.environ.get("MIEN_OPENAPI", "25"))
"""For each operation and phase; more make a campaign of it."""

app = create_app({"nano": load_model("nano")}, limits=Limits(rate=1_000_000))


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """Run the server without its end, which would come after each request drawn."""
    if scope["type"] != "lifespan":
        await app(scope, receive, send)
        return
    kind = ""
    while kind != "lifespan.shutdown":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})


HERE = {"Host": "127.0.0.1"}
"""A server on this machine answers to no other name."""

schema = schemathesis.openapi.from_asgi("/openapi.json", endless, headers=HERE)


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_description_names(case: Any) -> None:
    # Bytes drawn at random are allowed and yet no picture: 422 is right.
    case.call_and_validate(headers=HERE, excluded_checks=[positive_data_acceptance])
