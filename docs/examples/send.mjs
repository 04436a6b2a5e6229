// Sends one signed signal to Gemba with what Node.js 18 or later has built in.
//
// Usage: node send.mjs hmac              http://localhost:8080/v1/signals          SECRET_FILE ID
//        node send.mjs standard-webhooks http://localhost:8080/v1/sources/webhooks SECRET_FILE ID

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const signers = {
  // Hex HMAC-SHA256 of the exact bytes of the body. The key is the text in the secret file.
  "hmac": (secret, id, body) => ({
    "x-signature": createHmac("sha256", secret).update(body).digest("hex"),
  }),
  // The key is the decoded base64 after `whsec_`. The id and the time are signed, too.
  "standard-webhooks": (secret, id, body) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    const now = Math.floor(Date.now() / 1000);
    const signature = createHmac("sha256", key).update(`${id}.${now}.${body}`).digest("base64");
    return { "webhook-id": id, "webhook-timestamp": `${now}`, "webhook-signature": `v1,${signature}` };
  },
};

// Sends the same bytes until they are accepted or refused.
async function send(url, body, sign, tries = 6) {
  for (let left = tries - 1; ; left--) {
    let wait = 1;
    try {
      const headers = { "content-type": "application/json", ...sign() };
      const answer = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(30_000) });
      const text = await answer.text();
      if (![429, 503].includes(answer.status) || left === 0) return { status: answer.status, text };
      wait = Number(answer.headers.get("retry-after") ?? 1);
    } catch (error) {
      // No answer: the signal may have been accepted, and a repeat does no harm.
      if (left === 0) throw error;
    }
    await sleep(1000 * wait);
  }
}

const [scheme, url, secretFile, id] = process.argv.slice(2);
if (!(scheme in signers) || !id) {
  console.error("usage: node send.mjs hmac|standard-webhooks URL SECRET_FILE ID");
  process.exit(2);
}
const secret = readFileSync(secretFile, "utf8").trimEnd();
// The id names the event: the same id with the same body is the same signal, however often it is sent.
const data = { spend: 81.25, budget: 100 };
const body = JSON.stringify({ id, tenant: "acme", sku: "vm", type: "cost.usage", data });
const { status, text } = await send(url, body, () => signers[scheme](secret, id, body));
console.log(status, text);
process.exitCode = status === 202 ? 0 : 1;
