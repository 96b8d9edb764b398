/** Takes secrets out of text that leaves the host. Pure. */

import type { StoreSettings } from "../config/config.ts";
import type { Environment } from "../config/settings.ts";

const REDACTED = "[redacted]";
/** Shorter values are words that occur everywhere; what a name tells is redacted anyway. */
const SHORTEST_SECRET = 6;

const SECRET_WORD = "[\\w.-]*(?:password|passwd|secret|token|psk|private[-_]?key|http[-_]?auth)[\\w.-]*";
/** `"PSK": "x"`, `token=x`, `password: x`. */
const VALUE = `"(?:\\\\.|[^"\\\\])*"|'[^']*'|[^\\s,}]+`;
const NAMED_VALUE = new RegExp(`(${SECRET_WORD}\\\\?["']?\\s*[:=]\\s*)(?:${VALUE})`, "gi");
/** `--consul-token x`. */
const FLAG_VALUE = new RegExp(`(\\s--?${SECRET_WORD}\\s+)(\\S+)`, "gi");
const URL_PASSWORD = /(\w:\/\/[^\s/:@]*):[^\s/@]+@/g;
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;

/** Values that are secret wherever they occur: those that the daemon was given. */
export function knownSecrets(store: StoreSettings, environment: Environment): readonly string[] {
  const settings = [
    ...("password" in store ? [store.password] : []),
    ...("token" in store ? [store.token] : []),
    ...("httpAuth" in store ? [store.httpAuth, store.httpAuth.split(":").slice(1).join(":")] : []),
  ];
  const name = new RegExp(`^${SECRET_WORD}$`, "i");
  const variables = Object.entries(environment).flatMap(([key, value]) =>
    name.test(key) && value !== undefined ? [value] : [],
  );
  return [...settings, ...variables].filter((value) => value.length >= SHORTEST_SECRET);
}

/** The text without known secrets, and without what a name says is secret. */
export function redactText(text: string, known: readonly string[]): string {
  const masked = known.reduce((rest, secret) => rest.replaceAll(secret, REDACTED), text);
  return masked
    .replace(PRIVATE_KEY, REDACTED)
    .replace(URL_PASSWORD, `$1:${REDACTED}@`)
    .replace(NAMED_VALUE, `$1${REDACTED}`)
    .replace(FLAG_VALUE, `$1${REDACTED}`);
}
