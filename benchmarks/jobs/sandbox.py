"""Starts a sandbox and reads all opens and contacts from it: `python -m benchmarks.jobs.sandbox CONTACTS`."""

from __future__ import annotations

import json
import sys

import requests

from icontact_assets.sandbox.process import Sandbox

PAGE = 500
NAMES = {"API-AppId": "APP_ID", "API-Username": "API_USERNAME", "API-Password": "API_PASSWORD"}


def main() -> None:
    rows = asked = 0
    with Sandbox(contacts=int(sys.argv[1]), messages=20, days=71) as sandbox, requests.Session() as session:
        values = sandbox.environment()
        session.headers["API-Version"] = "2.2"
        session.headers["Accept"] = "application/json"
        for header in ("API-AppId", "API-Username", "API-Password"):
            session.headers[header] = values["ICONTACT_" + NAMES[header]]
        folder = f"{sandbox.url}/a/1300001/c/7601"
        listings = ["contacts?status=total&", *(f"messages/{310_001 + number}/opens?" for number in range(20))]
        for listing in listings:
            total, offset = 1, 0
            while offset < total:
                body = session.get(f"{folder}/{listing}limit={PAGE}&offset={offset}").json()
                total, offset, asked = body["total"], offset + PAGE, asked + 1
            rows += total
    print(json.dumps({"rows": rows, "requests": asked}))


if __name__ == "__main__":
    main()
