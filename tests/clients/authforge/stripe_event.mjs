// Sends an event to URL as Stripe does: signed with STRIPE_WEBHOOK_SECRET by the helper for tests of Stripe's own package. The
// arguments are the event's id, the plan and whether it is paid. Prints the status of the answer.
import Stripe from "stripe";

const [id, plan, paymentStatus] = process.argv.slice(2);
const session = {
  id: `cs_test_${id}`,
  object: "checkout.session",
  payment_status: paymentStatus,
  customer_details: { email: "buyer@example.com" },
  metadata: { plan },
};
const payload = JSON.stringify({
  id,
  object: "event",
  type: "checkout.session.completed",
  created: Math.floor(Date.now() / 1000),
  data: { object: session },
});
const stripe = new Stripe("sk_test_none");
const secret = process.env.STRIPE_WEBHOOK_SECRET;
const response = await fetch(process.env.URL, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    "Stripe-Signature": stripe.webhooks.generateTestHeaderString({ payload, secret }),
  },
  body: payload,
});
console.log(response.status);
