// A client of paywalls.net's filter, written from the description of the published one (1.3.14), which is in no registry:
// docs/protocols/paywalls.md. It decides on visits that it is given on stdin as JSON, one a line, and prints what each comes to.

import { createInterface } from "node:readline";

const base = process.env.PAYWALLS_CLOUD_API_HOST;
const key = process.env.PAYWALLS_CLOUD_API_KEY;
const publisher = process.env.PAYWALLS_PUBLISHER_ID;
const bearer = { Authorization: `Bearer ${key}` };
const json = { ...bearer, "Content-Type": "application/json" };

// What was asked of the service since the visit began.
let asked = [];

async function ask(path, options) {
  asked.push(path);
  return fetch(`${base}${path}`, options);
}

const post = (path, body) => ask(path, { method: "POST", headers: json, ...(body && { body: JSON.stringify(body) }) });

// Both lists are asked for before the first judgement and kept; the first must come, the second may fail.
let lists;

async function loadLists() {
  if (lists) return lists;
  const [agents, signals] = await Promise.all([
    post("/api/filter/agents/metadata").then((answer) => {
      if (!answer.ok) throw new Error(`the agents: ${answer.status}`);
      return answer.json();
    }),
    ask("/pw/vai/metadata").then((answer) => (answer.ok ? answer.json() : null)).catch(() => null),
  ]);
  const entries = agents.version === 2 ? agents.patterns : agents;
  const compiled = (text) => {
    const end = text.lastIndexOf("/");
    return new RegExp(text.slice(1, end), text.slice(end + 1));
  };
  const known = entries.map((entry) => ({ ...entry, patterns: entry.patterns.map(compiled) }));
  lists = { known, signals };
  if (typeof signals?.version !== "number") throw new Error("the lists for signals have no version");
  for (const source of [...signals.automation_patterns, ...signals.headless_patterns]) new RegExp(source, "i");
  new RegExp(`\\b(${signals.bot_patterns.join("|")})\\b`, "i");
  return lists;
}

// The text between the first and the second blank, whatever the scheme.
const tokenOf = (headers) => headers.authorization?.split(" ")[1];

async function decisionOn(headers) {
  if (!headers["user-agent"]) {
    return { access: "deny", reason: "missing_user_agent", response: { code: 401, html: "Unauthorized access." } };
  }
  const body = { account_id: publisher, user_agent: headers["user-agent"], token: tokenOf(headers), headers };
  const answer = await post("/api/filter/agents/auth", body);
  if (!answer.ok) return { access: "deny", reason: "unknown_error", response: { code: 502, html: "Bad Gateway." } };
  return answer.json();
}

// Failures are printed and forgotten.
async function log(decision, visit) {
  const { response, ...status } = decision;
  const url = new URL(visit.url);
  const answer = await post("/api/filter/access/logs", {
    account_id: publisher,
    status,
    method: visit.method ?? "GET",
    hostname: url.hostname,
    resource: url.pathname + url.search,
    user_agent: visit.headers["user-agent"],
    headers: visit.headers,
  });
  if (!answer.ok) console.error(`a report: ${answer.status} ${await answer.text()}`);
}

// Requests below /pw go to the service before anything is judged, and its answer goes back untouched.
async function proxied(visit, url) {
  const forwarded = {
    "User-Agent": "pw-filter-sdk/1.2.x (test)",
    ...bearer,
    "X-Original-Host": visit.headers.host ?? url.host,
    "X-PW-V": "2",
    ...(visit.signals ?? {}),
  };
  if (visit.headers.origin) forwarded["X-Forwarded-Origin"] = visit.headers.origin;
  const answer = await ask(url.pathname + url.search, { method: visit.method ?? "GET", headers: forwarded });
  return { status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text() };
}

async function visited(visit) {
  const url = new URL(visit.url);
  if (url.pathname.startsWith("/pw/")) return proxied(visit, url);
  const { known } = await loadLists();
  const agent = visit.headers["user-agent"] ?? "";
  const kind = known.find((entry) => entry.patterns.some((pattern) => pattern.test(agent)));
  const isBot = visit.bot || (kind && ((kind.vat && kind.vat !== "HUMAN") || (kind.operator && kind.agent)));
  if (!isBot) return { status: 200, body: "the site" };
  const decision = await decisionOn(visit.headers);
  await log(decision, visit);
  // Nothing but this exact word stops a visitor.
  if (decision.access !== "deny") return { status: 200, body: "the site", reason: decision.reason };
  return {
    status: decision.response?.code ?? 402,
    headers: { "Content-Type": "text/html", ...decision.response?.headers },
    body: decision.response?.html ?? "Payment required.",
    reason: decision.reason,
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  asked = [];
  const answer = await visited(JSON.parse(line)).catch((error) => ({ status: 500, body: String(error) }));
  console.log(JSON.stringify({ ...answer, asked }));
}
