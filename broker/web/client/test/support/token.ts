// Tokens as an application would make them, signed with a secret that the broker knows, too.

import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

const SECRET = "a secret of thirty-two bytes or more";

/** A setting that makes a broker know the secret. */
export function secretSetting(): string[] {
  const folder = mkdtempSync(join(tmpdir(), "altavoz-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "secret");
  writeFileSync(file, SECRET, { mode: 0o600 });
  return ["--auth-hmac-secret-file", file];
}

/** A token for `ana`, good for so many seconds, that lets her subscribe to this. */
export function sign(seconds: number, subscribe: string[] = ["#"]): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const claims = { sub: "ana", exp, sub_allow: subscribe, pub_allow: ["#"] };
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}
