"""Signs a GET of URL as the agent whose directory is at ORIGIN, by the key in PEM, and prints the headers as JSON."""

import datetime
import json
import os

import requests
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms


class Keys(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id):
        return os.environ["PEM"].encode()


request = requests.Request("GET", os.environ["URL"]).prepare()
request.headers["Signature-Agent"] = json.dumps(os.environ["ORIGIN"])
signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=Keys())
now = datetime.datetime.now(datetime.timezone.utc)
signer.sign(
    request,
    key_id=os.environ["KEY_ID"],
    tag="web-bot-auth",
    covered_component_ids=("@authority", "@path", "signature-agent"),
    created=now,
    expires=now + datetime.timedelta(minutes=5),
)
names = ("Signature-Agent", "Signature-Input", "Signature")
print(json.dumps({name: request.headers[name] for name in names}))
