// A seller's server, as AuthForge's guide for integrations shows one in JavaScript: the same requests, and the same fields of the
// answers read in the same way. Carries out each step, and prints a line of JSON for it.
const base = `${process.env.BASE_URL}/v1`;
const authorization = `Bearer ${process.env.AUTHFORGE_API_KEY}`;
const json = { Authorization: authorization, "Content-Type": "application/json" };
const appId = process.env.APP_ID;
const say = (step, result) => console.log(JSON.stringify({ step, result }));

const create = (body) => fetch(`${base}/licenses`, { method: "POST", headers: json, body: JSON.stringify(body) });

async function generateLicense({ plan, orderId }) {
  const slots = plan === "enterprise" ? 5 : 1;
  const response = await create({ appId, quantity: 1, maxHwidSlots: slots, label: orderId });
  if (!response.ok) {
    const { error, message } = await response.json();
    throw new Error(`${error}; ${message}`);
  }
  const { licenses } = await response.json();
  const { licenseKey } = licenses[0];
  if (plan !== "basic") await setLicenseVariables(licenseKey, { plan, export: true });
  return licenseKey;
}

async function setLicenseVariables(licenseKey, variables) {
  const response = await fetch(`${base}/licenses/${licenseKey}/variables`, {
    method: "PUT",
    headers: json,
    body: JSON.stringify(variables),
  });
  if (!response.ok) throw new Error(`${response.status}`);
}

async function generateBulkLicenses(quantity, options = {}) {
  const response = await create({
    appId,
    quantity,
    expiresAt: options.expiresAt || null,
    maxHwidSlots: options.maxHwidSlots || 1,
    label: options.label,
  });
  const { licenses } = await response.json();
  return licenses.map((license) => license.licenseKey);
}

async function checkLicense(licenseKey) {
  const response = await fetch(`${base}/licenses/${licenseKey}`, { headers: { Authorization: authorization } });
  if (!response.ok) {
    if (response.status === 404) return null;
    throw new Error(`${response.status}`);
  }
  return await response.json();
}

async function resetHwid(licenseKey) {
  const body = JSON.stringify({ action: "reset-hwid" });
  const response = await fetch(`${base}/licenses/${licenseKey}`, { method: "PUT", headers: json, body });
  return response.ok;
}

async function getAllLicenses() {
  const [all, pages] = [[], []];
  let cursor = null;
  do {
    const url = new URL(`${base}/licenses`);
    url.searchParams.set("appId", appId);
    url.searchParams.set("limit", "200");
    if (cursor) url.searchParams.set("cursor", cursor);
    const response = await fetch(url.toString(), { headers: { Authorization: authorization } });
    const data = await response.json();
    pages.push(data.licenses.length);
    all.push(...data.licenses);
    cursor = data.cursor;
    // Somebody buys while the list is read.
    if (cursor) await generateBulkLicenses(1);
  } while (cursor);
  return { all, pages };
}

let waits = 0;

async function safeApiCall(url, options) {
  const response = await fetch(url, options);
  if (response.ok) return response.json();
  const body = await response.json().catch(() => ({}));
  if (body.error === "rate_limited") {
    waits += 1;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return safeApiCall(url, options);
  }
  throw Object.assign(new Error(body.message), { code: body.error || "unknown_error" });
}

const basic = await generateLicense({ plan: "basic", orderId: "order-1" });
const enterprise = await generateLicense({ plan: "enterprise", orderId: "order-2" });
say("generate", { basic, enterprise });

const show = (license) => ({
  status: license.status,
  expires: license.expiresAt || "never",
  devices: `${license.hwidList.length}/${license.maxHwidSlots}`,
  label: license.label,
});
say("check", [show(await checkLicense(basic)), show(await checkLicense(enterprise))]);
say("unknown", await checkLicense("A3K9-BFWX-7NP2-QHDT"));

const keys = await generateBulkLicenses(50, { expiresAt: "2037-01-01T00:00:00Z", label: "Reseller batch #42" });
const other = await checkLicense(keys[49]);
say("bulk", { count: new Set(keys).size, ...show(other), shape: keys.every((key) => /^([A-HJ-NP-Z2-9]{4}(-|$)){4}/.test(key)) });

say("reset", [await resetHwid(process.env.BOUND_KEY), show(await checkLicense(process.env.BOUND_KEY))]);

for (let made = 0; made < 4; made += 1) await generateBulkLicenses(100);
const { all, pages } = await getAllLicenses();
const listed = new Set(all.map((license) => license.licenseKey));
say("list", { pages, distinct: listed.size, hasAll: [basic, enterprise, ...keys].every((key) => listed.has(key)) });

const refusal = async (url, options) => safeApiCall(url, options).then(() => null, (error) => error.code);
const post = (body, key = authorization) => ({
  method: "POST",
  headers: { ...json, Authorization: key },
  body: JSON.stringify(body),
});
say("refused", {
  foreign: await refusal(`${base}/licenses`, post({ appId: process.env.FOREIGN_APP_ID })),
  many: await refusal(`${base}/licenses`, post({ appId, quantity: 101 })),
  key: await refusal(`${base}/licenses`, post({ appId }, "Bearer af_live_wrong")),
});

// A hundred may come at once and fifty a second after that: the rest waits its turn.
const asked = Array.from({ length: 300 }, () => refusal(`${base}/licenses/${basic}`, { headers: json }));
const failed = (await Promise.all(asked)).filter(Boolean);
say("burst", { failed, waited: waits > 0 });
