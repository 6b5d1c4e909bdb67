// Verifies messages as a receiver does that uses the library. Each line of the input is JSON with `secret`, `headers` and
// `body`; for each it prints the type of the event, or why it was refused.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  try {
    console.log(new Webhook(secret).verify(body, headers).type);
  } catch (error) {
    console.log(`refused: ${error.message}`);
  }
}
