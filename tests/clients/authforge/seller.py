"""A seller's server, as AuthForge's guide for integrations shows one in Python. Prints what it made as JSON."""

import json
import os

import requests

API_KEY = os.environ["AUTHFORGE_API_KEY"]
BASE_URL = os.environ["BASE_URL"] + "/v1"
HEADERS = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}


def create_license(app_id, **kwargs):
    """Licenses of an app, with what else the request may say."""
    response = requests.post(f"{BASE_URL}/licenses", headers=HEADERS, json={"appId": app_id, **kwargs}, timeout=30)
    response.raise_for_status()
    return response.json()["licenses"]


if __name__ == "__main__":
    made = create_license(os.environ["APP_ID"], quantity=3, maxHwidSlots=2, label="order-3")
    try:
        create_license(os.environ["FOREIGN_APP_ID"])
        REFUSED = None
    except requests.HTTPError as error:
        REFUSED = error.response.status_code
    print(json.dumps({"licenses": made, "refused": REFUSED}))
