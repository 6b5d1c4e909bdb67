// A receiver of AuthForge's webhooks, as its guide for integrations shows one: express, with the body as it came. Verifies the
// signature, and prints a line of JSON for each event. Prints its port first.
import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";

const app = express();
const say = (line) => console.log(JSON.stringify(line));

app.post("/webhooks/authforge", express.raw({ type: "application/json" }), (req, res) => {
  // The secret is shown when the webhook is made, which needs the port: so it comes by the standard input.
  const expected = createHmac("sha256", secret).update(req.body).digest();
  const given = Buffer.from(req.get("X-AuthForge-Signature") ?? "", "hex");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return res.sendStatus(401);
  const event = JSON.parse(req.body);
  switch (event.event) {
    case "license.validated":
      say({ seen: event.data.licenseKey });
      break;
    case "license.hwid_bound":
      say({ bound: event.data.licenseKey, device: event.data.hwid });
      break;
  }
  res.sendStatus(200);
});

let secret = "";
const server = app.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
process.stdin.setEncoding("utf8");
process.stdin.on("data", (text) => {
  secret += text.trim();
  if (text.includes("\n")) say({ ready: true });
});
