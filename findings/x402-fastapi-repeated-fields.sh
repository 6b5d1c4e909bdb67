#!/bin/sh
# A page of FastAPI 0.165.0 answers with two cookies, and with two fields `Link`: `rel="next"` and `rel="license"`. Behind the
# middleware of PyPI x402 2.25.0 the answer to a call that paid has the first of each; the session's cookie and the license are gone.
# The same page without a price has all four, and so has a 404 in answer to a payment, which is not charged. The middleware passes
# the 404 on; an answer that was settled it puts together anew, from a dictionary of its fields.
# One would expect that a payment adds its receipt to an answer and takes nothing away.
# Why it matters: what is lost is lost to those alone who paid, so tests without payments do not see it. A gate before such an API
# hands on what it gets, and is asked where the session is. `Link` fits in one field, with a comma; cookies do not (RFC 6265,
# section 3).
#
# Usage: findings/x402-fastapi-repeated-fields.sh    (needs python3 and its index; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet install 'x402[evm,fastapi]==2.25.0' fastapi==0.165.0 starlette==1.10.0 httpx==0.28.1
cat > probe.py <<'PYTHON'
import asyncio
import base64
import json

import httpx
from eth_account import Account
from fastapi import FastAPI, Response
from x402 import x402ClientSync, x402ResourceServer
from x402.http import x402HTTPClientSync
from x402.http.middleware.fastapi import payment_middleware
from x402.mechanisms.evm.exact.client import ExactEvmScheme
from x402.mechanisms.evm.exact.server import ExactEvmScheme as ExactAsked
from x402.schemas import SettleResponse, SupportedKind, SupportedResponse, VerifyResponse

NETWORK = "eip155:8453"
settled = []


class Facilitator:
    """Takes every payment."""

    def get_supported(self):
        kind = SupportedKind(x402_version=2, scheme="exact", network=NETWORK)
        return SupportedResponse(kinds=[kind], extensions=[], signers={})

    async def verify(self, *_):
        return VerifyResponse(is_valid=True)

    async def settle(self, _, requirements):
        settled.append(requirements.amount)
        return SettleResponse(success=True, transaction=f"0x{'1' * 64}", network=NETWORK)


app = FastAPI()
accepts = {"scheme": "exact", "network": NETWORK, "price": "$0.01", "payTo": f"0x{'2' * 40}"}
server = x402ResourceServer(Facilitator()).register(NETWORK, ExactAsked())
app.middleware("http")(payment_middleware({"GET /paid/*": {"accepts": accepts}}, server))


@app.get("/free/{status}")
@app.get("/paid/{status}")
def page(status: int):
    answer = Response("page", status_code=status)
    answer.set_cookie("language", "en")
    answer.set_cookie("session", "7")
    answer.headers.append("Link", '</2>; rel="next"')
    answer.headers.append("Link", '</license>; rel="license"')
    return answer


async def fields_of(path):
    settled.clear()
    agent = x402HTTPClientSync(x402ClientSync().register(NETWORK, ExactEvmScheme(Account.create())))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example") as client:
        answer = await client.get(path)
        if answer.status_code == 402:
            payment = agent.create_payment_payload(agent.get_payment_required_response(answer.headers.get, None))
            answer = await client.get(path, headers=agent.encode_payment_signature_header(payment))
    fields = [value.split("; Path")[0] for name, value in answer.headers.multi_items() if name in ("set-cookie", "link")]
    receipt = answer.headers.get("payment-response")
    print(path, answer.status_code, settled, fields, receipt and json.loads(base64.b64decode(receipt))["success"])
    return settled[:], fields


async def main():
    first = ["language=en", '</2>; rel="next"']
    every = ["language=en", "session=7", '</2>; rel="next"', '</license>; rel="license"']
    assert await fields_of("/free/200") == ([], every)
    assert await fields_of("/free/404") == ([], every)
    assert await fields_of("/paid/404") == ([], every)
    assert await fields_of("/paid/200") == (["10000"], first)
    print("as described")


asyncio.run(main())
PYTHON
venv/bin/python probe.py
