#!/bin/sh
# A quota that is used up until the month's end is refused with 429 and `Retry-After: 2160000`, 25 days. On node 20
#   - got 14.6.6, axios-retry 4.5.0, openai 6.49.0 and @anthropic-ai/sdk 1.14.0 repeat the call AT ONCE, until their tries are used up;
#   - ky 1.14.3 waits, though for 2^31-1 milliseconds at most.
# With `Retry-After: 2073600`, 24 days, all five wait, as one would expect of both. The four hand the wait to a timer whose longest time
# is 2^31-1 ms, 24.8 days, and which takes anything longer for 1 ms; the process says so in a warning that names no library.
# Why it matters: who refuses honestly until the month's end gets each refused call three or four times, at once, in the first days of
# a month, and a single time in its last three weeks. A wait of 24 days at most is safe to name.
#
# Usage: findings/retry-after-of-a-month.sh    (needs node 20 or newer, npm and its registry; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-audit --no-fund got@14.6.6 ky@1.14.3 axios@1.21.1 axios-retry@4.5.0 openai@6.49.0 \
  @anthropic-ai/sdk@1.14.0 >/dev/null
cat > probe.mjs <<'NODE'
import assert from "node:assert/strict";
import { createServer } from "node:http";
import Anthropic from "@anthropic-ai/sdk";
import axios from "axios";
import axiosRetry from "axios-retry";
import got from "got";
import ky from "ky";
import OpenAI from "openai";

let calls = 0;
let wait = "";
const server = createServer((request, response) => {
  calls += 1;
  request.resume();
  request.on("end", () => {
    response.writeHead(429, { "Retry-After": wait, "Content-Type": "application/json" });
    response.end('{"error":{"message":"the quota is used up"}}');
  });
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const url = `http://127.0.0.1:${server.address().port}`;

// The timers of days that the clients ask for; each is still set as it was asked for.
const timers = [];
const set = globalThis.setTimeout;
globalThis.setTimeout = (run, time, ...rest) => {
  if (time > 86_400_000) timers.push(time);
  return set(run, time, ...rest);
};
process.removeAllListeners("warning");

const retried = axios.create();
axiosRetry(retried, { retries: 3 });
const messages = [{ role: "user", content: "Hello" }];
const client = { apiKey: "none", baseURL: url };
const clients = {
  got: () => got(url),
  ky: () => ky.get(url).text(),
  "axios-retry": () => retried.get(url),
  openai: () => new OpenAI(client).chat.completions.create({ model: "m", messages }),
  "@anthropic-ai/sdk": () => new Anthropic(client).messages.create({ model: "m", max_tokens: 1, messages }),
};

// How many calls came, once the client gave up or set a timer that holds.
async function calls_of(call) {
  calls = 0;
  timers.length = 0;
  let ended = false;
  call().then(() => assert.fail("it was answered 200"), () => (ended = true));
  for (let waited = 0; !ended && !timers.some((time) => time < 2 ** 31); waited += 20) {
    assert.ok(waited < 60_000, "it neither gave up nor waits");
    await new Promise((over) => set(over, 20));
  }
  return `${calls} ${ended ? "gave up" : "waits"}`;
}

const seen = {};
for (const days of [24, 25]) {
  wait = String(days * 86_400);
  for (const [name, call] of Object.entries(clients)) {
    (seen[name] ??= []).push(await calls_of(call));
    console.log(`Retry-After ${days} days, ${name}: calls ${seen[name].at(-1)}`);
  }
}
assert.deepEqual(seen, {
  got: ["1 waits", "3 gave up"],
  ky: ["1 waits", "1 waits"],
  "axios-retry": ["1 waits", "4 gave up"],
  openai: ["1 waits", "3 gave up"],
  "@anthropic-ai/sdk": ["1 waits", "3 gave up"],
});
console.log("as described");
process.exit(0);
NODE
node probe.mjs
