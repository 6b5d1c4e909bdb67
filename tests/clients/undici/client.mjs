// Sends four requests on one connection without waiting for answers, says `sent`, and prints what came back, in the order in
// which it came.
import { setImmediate } from "node:timers/promises";
import { Client } from "undici";

const client = new Client(process.env.BASE_URL, { pipelining: 4 });
const headers = { "Apifew-User-License-Key": process.env.KEY };
const answers = [];
const call = async (path) => {
  // Behind an answer that may block, as it takes each for otherwise, it sends nothing.
  const answer = await client.request({ method: "GET", path, headers, blocking: false });
  const text = await answer.body.text();
  answers.push({ path, status: answer.statusCode, length: text.length, call_id: answer.headers["tallygate-call-id"] });
};

// Nothing is pipelined before the first answer.
await call("/status/200");
const calls = ["/hold", "/status/404", "/bytes/70000", "/status/201"].map(call);
while (client.stats.running < 4) await setImmediate();
console.log("sent");
await Promise.all(calls);
for (const answer of answers) console.log(JSON.stringify(answer));
await client.close();
