/** Reads the address of a store's server as a flag gives it: HOST:PORT or a URL. Pure. */

import { ConfigError } from "../errors.ts";
import { withoutCredentials } from "./options.ts";

export interface ServerAddress {
  readonly isTls: boolean;
  /** As in a URL: an IPv6 address in brackets. */
  readonly hostname: string;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface AddressRules {
  /** Names the flag in errors. */
  readonly flag: string;
  /** What to write instead of a malformed address. */
  readonly remedy: string;
  /** The flags for a name and password, which a URL must not hold: it is logged. */
  readonly credentials: string;
  readonly defaultPort: (isTls: boolean) => number;
  /** Certificate files are given: an address without a scheme means TLS, and a plaintext one is an error. */
  readonly hasTlsFiles: boolean;
  /** TLS whatever the scheme says. */
  readonly useTls: boolean;
}

/** The address; ConfigError that shows it without credentials. */
export function parseServerAddress(text: string, rules: AddressRules): ServerAddress {
  const { scheme, rest } = splitScheme(text);
  const url = URL.canParse(`http://${rest}`) ? new URL(`http://${rest}`) : null;
  const fail = (problem: string) => new ConfigError(`${rules.flag}: ${problem}`);
  if (url?.username || url?.password)
    throw fail(`the one at ${url.host} holds a name or password: give ${rules.credentials} instead`);
  const isKnown = scheme === null || scheme === "http" || scheme === "https";
  if (!isKnown || !url?.hostname || url.pathname !== "/" || url.search !== "")
    throw fail(`"${withoutCredentials(text)}" is not an address: ${rules.remedy}`);
  const isTls = rules.useTls || scheme === "https" || (scheme === null && rules.hasTlsFiles);
  if (rules.hasTlsFiles && !isTls)
    throw fail(`${text} is plaintext although certificate files are given: write https`);
  // URL leaves out the port that belongs to its scheme.
  const port = /:(\d+)$/.exec(rest)?.[1];
  return {
    isTls,
    hostname: url.hostname,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: port === undefined ? rules.defaultPort(isTls) : Number(port),
  };
}

/** `HTTPS://host/` is { scheme: "https", rest: "host" }. */
export function splitScheme(text: string): { readonly scheme: string | null; readonly rest: string } {
  const [, scheme, rest = ""] = /^(?:([a-z]+):\/\/)?(.*?)\/*$/i.exec(text) ?? [];
  return { scheme: scheme?.toLowerCase() ?? null, rest };
}
