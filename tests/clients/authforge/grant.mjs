// Grants a license for each checkout that Stripe says is paid: once, however often Stripe says so.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import express from "express";
import Stripe from "stripe";

const stripe = new Stripe(process.env.STRIPE_API_KEY);
// A folder with a file for each event that is done, where you have a table with the event's id as its primary key.
const done = process.env.DONE ?? "done";
mkdirSync(done, { recursive: true });

// By the metadata of the checkout session.
const plans = {
  basic: { device_slots: 1 },
  pro: { device_slots: 5, variables: { license_features: "export, reports" } },
};

async function grant(event) {
  const session = event.data.object;
  const response = await fetch(`${process.env.TALLYGATE_URL}/api/v1/licenses`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${process.env.TALLYGATE_KEY}`,
      "Content-Type": "application/json",
      // Whoever sends the same again within 24 hours gets the license that was made the first time.
      "Idempotency-Key": event.id,
    },
    body: JSON.stringify({ app: "game", key_format: "authforge", label: session.id, ...plans[session.metadata.plan] }),
  });
  const license = await response.json();
  if (!response.ok) throw new Error(`${license.code}: ${license.detail}`);
  return license;
}

// Your mail goes here.
async function deliver(email, license) {
  console.log(JSON.stringify({ to: email, key: license.key }));
}

const app = express();
app.post("/webhooks/stripe", express.raw({ type: "application/json" }), async (req, res) => {
  let event;
  try {
    event = stripe.webhooks.constructEvent(req.body, req.get("Stripe-Signature"), process.env.STRIPE_WEBHOOK_SECRET);
  } catch {
    return res.sendStatus(400);
  }
  const session = event.data.object;
  const isPaid = event.type === "checkout.session.completed" && session.payment_status === "paid";
  const note = join(done, event.id);
  if (isPaid && !existsSync(note)) {
    // What throws is answered with 500, and Stripe says it again later.
    await deliver(session.customer_details.email, await grant(event));
    writeFileSync(note, "");
  }
  res.sendStatus(200);
});
const server = app.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => console.log(server.address().port));
