// Signs a GET of URL as the agent whose directory is at ORIGIN, by the key in JWK, and prints the headers as JSON.
import { signatureHeaders } from "web-bot-auth";
import { signerFromJWK } from "web-bot-auth/crypto";

const now = new Date();
const agent = JSON.stringify(process.env.ORIGIN);
const request = new Request(process.env.URL, { headers: { "Signature-Agent": agent } });
const terms = { created: now, expires: new Date(now.getTime() + 300_000) };
const headers = await signatureHeaders(request, await signerFromJWK(JSON.parse(process.env.JWK)), terms);
console.log(JSON.stringify({ "Signature-Agent": agent, ...headers }));
