#!/bin/sh
# How many whole months of a subscription have passed? Asked of five libraries, for 420 days after each day of January 2026, and held
# against the same library's own addition of months:
#   - pendulum 3.3.0 counts a month that is not over yet: one day early in months of 30 days, three in February. 2 January to 1 April
#     is "3 months", and 3 months added to 2 January are 2 April. 174 of 13,020 cases, whatever the day of the month;
#   - date-fns 4.4.0 counts a day late from the 31st: 31 January to 30 April is 2, and 3 months added to 31 January are 30 April. But not
#     so in February: 31 January to 28 February is 1;
#   - Temporal (temporal-polyfill 1.0.8) does it in February too: 29, 30 or 31 January to 28 February is 0, 1 month added is 28 February;
#   - luxon 3.7.2 and python-dateutil 4.0.0 agree with their own addition on every day.
# Why it matters: "the period is anchor + n, n the months that passed" is how bills find the period of a call. With the first three the
# call lands in a period that has not begun, or in one that is over, and two systems that bill the same call put it on different bills.
# Find n by additions alone: the largest n with anchor + n months <= now.
#
# Usage: findings/months-passed.sh    (needs python3, node 20 or newer, npm and both indexes; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet install pendulum==3.3.0 python-dateutil==4.0.0
npm install --silent --no-save --no-audit --no-fund luxon@3.7.2 date-fns@4.4.0 temporal-polyfill@1.0.8 >/dev/null
cat > probe.py <<'PYTHON'
from datetime import date, timedelta

import pendulum
from dateutil.relativedelta import relativedelta


def by_pendulum(start, end):
    return pendulum.instance(start).diff(pendulum.instance(end)).in_months()


def by_dateutil(start, end):
    passed = relativedelta(end, start)
    return passed.years * 12 + passed.months


def added(start, months):  # that of pendulum and that of dateutil are the same day
    day = start + relativedelta(months=months)
    assert pendulum.instance(start).add(months=months) == day
    return day


def astray(months_passed):
    found = {}
    for first in range(1, 32):
        start = date(2026, 1, first)
        for later in range(420):
            day = start + timedelta(days=later)
            months = months_passed(start, day)
            if not added(start, months) <= day < added(start, months + 1):
                found[f"{start} {day}"] = months
    return found


pendulum_astray = astray(by_pendulum)
print("pendulum:", len(pendulum_astray), "days astray, the first:", list(pendulum_astray.items())[:3])
assert len(pendulum_astray) == 174 and pendulum_astray["2026-01-02 2026-04-01"] == 3
print("dateutil:", len(astray(by_dateutil)), "days astray")
assert astray(by_dateutil) == {}
PYTHON
venv/bin/python probe.py
cat > probe.mjs <<'NODE'
import assert from "node:assert/strict";
import { addMonths, differenceInMonths } from "date-fns";
import { DateTime } from "luxon";
import { Temporal } from "temporal-polyfill";

// Each library: the months from one day to another, and the day so many months after one. Days are texts.
const text = (date) => date.toISOString().slice(0, 10);
const libraries = {
  luxon: [
    (start, end) => Math.floor(DateTime.fromISO(end).diff(DateTime.fromISO(start), "months").months),
    (start, months) => DateTime.fromISO(start).plus({ months }).toISODate(),
  ],
  "date-fns": [
    (start, end) => differenceInMonths(new Date(end), new Date(start)),
    (start, months) => text(addMonths(new Date(start), months)),
  ],
  Temporal: [
    (start, end) => Temporal.PlainDate.from(start).until(end, { largestUnit: "months" }).months,
    (start, months) => Temporal.PlainDate.from(start).add({ months }).toString(),
  ],
};
const seen = {};
for (const [name, [passed, added]] of Object.entries(libraries)) {
  seen[name] = [];
  for (let first = 1; first <= 31; first += 1) {
    const start = text(new Date(Date.UTC(2026, 0, first)));
    for (let later = 0; later < 420; later += 1) {
      const day = text(new Date(Date.UTC(2026, 0, first + later)));
      const months = passed(start, day);
      if (added(start, months) > day || added(start, months + 1) <= day) seen[name].push(`${start} ${day} ${months}`);
    }
  }
  console.log(`${name}: ${seen[name].length} days astray`, ...seen[name].map((each) => `[${each}]`));
}
const late = ["2026-01-31 2026-04-30 2", "2026-01-31 2026-06-30 4", "2026-01-31 2026-09-30 7", "2026-01-31 2026-11-30 9"];
assert.deepEqual(seen.luxon, []);
assert.deepEqual(seen["date-fns"], late);
assert.equal(seen.Temporal.length, 10);
for (const each of [...late, "2026-01-29 2026-02-28 0", "2026-01-31 2026-02-28 0"]) assert.ok(seen.Temporal.includes(each), each);
console.log("as described");
NODE
TZ=UTC node probe.mjs
