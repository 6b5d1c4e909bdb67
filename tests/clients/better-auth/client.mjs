// Calls every method of better-auth's API key client against the gate at BASE_URL, as the holder of OWNER.
// Prints the name of each method once it did what it should, and ends with an error otherwise.
import assert from "node:assert/strict";
import { API_KEY_ERROR_CODES, apiKeyClient } from "@better-auth/api-key/client";
import { createAuthClient } from "better-auth/client";

const clientOf = (token) =>
  createAuthClient({
    baseURL: process.env.BASE_URL,
    plugins: [apiKeyClient()],
    fetchOptions: { auth: { type: "Bearer", token } },
  });
const client = clientOf(process.env.OWNER);
const stranger = clientOf(process.env.STRANGER);

const done = (method) => console.log(method);
const fine = ({ data, error }) => {
  assert.equal(error, null, JSON.stringify(error));
  return data;
};
const refused = ({ data, error }, status, code) => {
  assert.equal(data, null);
  assert.equal(error.status, status, JSON.stringify(error));
  assert.equal(error.code, code);
  assert.equal(error.message, API_KEY_ERROR_CODES[code].message);
};

const made = fine(
  await client.apiKey.create({
    name: "first",
    prefix: "pk_",
    expiresIn: 60 * 60 * 24 * 7,
    metadata: { team: "a" },
  }),
);
assert.ok(made.key.startsWith("pk_"));
assert.equal(made.start, made.key.slice(0, 6));
assert.deepEqual(made.metadata, { team: "a" });
assert.equal(made.userId, made.referenceId);
assert.ok(new Date(made.expiresAt) > new Date());
refused(await client.apiKey.create({ remaining: 5 }), 400, "SERVER_ONLY_PROPERTY");
refused(await client.apiKey.create({ name: "x".repeat(33) }), 400, "INVALID_NAME_LENGTH");
refused(await clientOf("wrong").apiKey.create({}), 401, "UNAUTHORIZED_SESSION");
done("create");

const shown = fine(await client.apiKey.get({ query: { id: made.id } }));
assert.equal(shown.name, "first");
assert.equal(shown.key, undefined);
refused(await stranger.apiKey.get({ query: { id: made.id } }), 404, "KEY_NOT_FOUND");
done("get");

fine(await client.apiKey.create({ name: "second" }));
const page = fine(
  await client.apiKey.list({
    query: { limit: 1, offset: 0, sortBy: "createdAt", sortDirection: "desc" },
  }),
);
assert.equal(page.total, 2);
assert.deepEqual(page.apiKeys.map((key) => key.name), ["second"]);
assert.equal(fine(await client.apiKey.list()).apiKeys.length, 2);
assert.equal(fine(await stranger.apiKey.list()).total, 0);
done("list");

const changed = fine(
  await client.apiKey.update({ keyId: made.id, name: "renamed", enabled: true, expiresIn: null }),
);
assert.equal(changed.name, "renamed");
assert.equal(changed.expiresAt, null);
refused(await client.apiKey.update({ keyId: made.id }), 400, "NO_VALUES_TO_UPDATE");
refused(await client.apiKey.update({ keyId: made.id, rateLimitMax: 1 }), 400, "SERVER_ONLY_PROPERTY");
refused(await stranger.apiKey.update({ keyId: made.id, name: "mine" }), 404, "KEY_NOT_FOUND");
done("update");

const verified = fine(await client.apiKey.verify({ key: made.key }));
assert.equal(verified.valid, true);
assert.equal(verified.error, null);
assert.equal(verified.key.requestCount, 1);
assert.equal(verified.key.key, undefined);
const unknown = fine(await client.apiKey.verify({ key: "nonsense" }));
assert.deepEqual([unknown.valid, unknown.error.code, unknown.key], [false, "INVALID_API_KEY", null]);
for (let count = 2; count <= 10; count += 1) {
  assert.equal(fine(await client.apiKey.verify({ key: made.key })).valid, true);
}
const limited = fine(await client.apiKey.verify({ key: made.key }));
assert.equal(limited.error.code, "RATE_LIMITED");
assert.ok(limited.error.details.tryAgainIn > 0 && limited.error.details.tryAgainIn <= 86_400_000);
done("verify");

assert.deepEqual(fine(await client.apiKey.delete({ keyId: made.id })), { success: true });
refused(await client.apiKey.delete({ keyId: made.id }), 404, "KEY_NOT_FOUND");
assert.equal(fine(await client.apiKey.verify({ key: made.key })).error.code, "INVALID_API_KEY");
done("delete");

const swept = fine(await client.apiKey.deleteAllExpiredApiKeys());
assert.deepEqual(swept, { success: true, error: null });
done("deleteAllExpiredApiKeys");
