#!/bin/sh
# standardwebhooks 1.1.0 (Python) signs the digits of a clock on the wall, not the moment: `Webhook.sign` takes a datetime and, where
# it has a zone, puts UTC in the place of that zone. 12:00 in Berlin is signed as 12:00 UTC, an hour or two later; 12:00 in New York
# as four or five hours earlier. svix 2.9.1 signs by the same code. Seen of one moment in four zones: UTC gives the signature of the
# moment, and each other zone that of the moment plus its offset, so every receiver answers "No matching signature found", the same
# library's `verify` included. `int(t.timestamp())`, what a sender puts into `webhook-timestamp`, is the moment whatever the zone.
# One would expect that two datetimes that are equal (`==` says so) have one signature; npm's standardwebhooks takes a Date, which
# has no zone, so its `sign` has one answer.
# Why it matters: it is right on every machine and test that thinks in UTC, and never right where times carry a zone: those of
# a database driver, of a framework's local time, of `datetime.now().astimezone()`. It looks like a wrong secret. Senders and test
# fixtures of receivers say `datetime.fromtimestamp(seconds, timezone.utc)`, of the very seconds that stand in the header.
#
# Usage: findings/webhook-sign-zone.sh    (needs python3 and the Python package index; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet install standardwebhooks==1.1.0 svix==2.9.1 tzdata==2026.6
venv/bin/python - <<'PYTHON'
import base64
import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import standardwebhooks
import svix

secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
body = '{"type":"license.revoked","data":{"license":"lic_1"}}'
seconds = int(time.time())
moment = datetime.fromtimestamp(seconds, timezone.utc)

for name, hook, refused in (
    ("standardwebhooks", standardwebhooks.Webhook(secret), standardwebhooks.WebhookVerificationError),
    ("svix", svix.webhooks.Webhook(secret), svix.webhooks.WebhookVerificationError),
):
    right = hook.sign("msg_1", moment, body)
    for zone in ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"):
        local = moment.astimezone(ZoneInfo(zone))
        assert local == moment and int(local.timestamp()) == seconds
        signature = hook.sign("msg_1", local, body)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(seconds), "webhook-signature": signature}
        try:
            hook.verify(body, headers)
            answer = "verified"
        except refused as error:
            answer = str(error)
        off = int(local.utcoffset().total_seconds())
        signed = hook.sign("msg_1", datetime.fromtimestamp(seconds + off, timezone.utc), body)
        print(f"{name}: the same moment in {zone}: {answer}; signed is the moment {off / 3600:+g} h: {signature == signed}")
        assert signature == signed
        assert (signature == right) == (off == 0)
        assert answer == ("verified" if off == 0 else "No matching signature found")
print("as described")
PYTHON
