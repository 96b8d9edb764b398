/**
 * Classifies failures; has those that connections to all stores have in common.
 *
 * Pure. The errors file of each store has the failures of its own server.
 */

import type { StoreErrorCode } from "../errors.ts";

/** A failure: the pattern of its text, and the remedy. */
export interface Failure {
  readonly code: StoreErrorCode;
  readonly pattern: RegExp;
  /** One line, appended to the text of the server or the library. */
  readonly remedy: string;
  readonly retryable: boolean;
}

/** How a store is configured, for remedies. */
export interface Wording {
  /** The flag with the servers' addresses. */
  readonly flag: string;
  /** What should run there. */
  readonly server: string;
  /** How to switch to plain text. */
  readonly goPlain: string;
}

/** The results of diagnosis.ts. */
export function diagnosedFailures({ flag, server, goPlain }: Wording): readonly Failure[] {
  return [
    {
      code: "TULLE_STORE_UNREACHABLE",
      pattern: /the name \S+ (cannot be|is not) resolved/,
      remedy: `correct the name in ${flag}, or the name servers that this host asks (/etc/resolv.conf)`,
      retryable: true,
    },
    {
      code: "TULLE_STORE_TLS",
      pattern: /the server speaks plain http/,
      remedy: `${goPlain}, or switch TLS on there`,
      retryable: true,
    },
    {
      code: "TULLE_STORE_TLS",
      pattern: /the server speaks TLS/,
      remedy: `write https:// in ${flag}`,
      retryable: true,
    },
    {
      code: "TULLE_STORE_API",
      pattern: /speaks neither TLS nor http|no application protocol/,
      remedy: `the program that answers there is not ${server}: correct ${flag}`,
      retryable: true,
    },
  ];
}

/**
 * Failed handshakes, as OpenSSL, BoringSSL and Node word them; the first that matches counts. `flags` is the prefix of the store's
 * flags.
 */
export function tlsFailures(flags: string): readonly Failure[] {
  const failure = (pattern: RegExp, remedy: string): Failure => ({
    code: "TULLE_STORE_TLS",
    pattern,
    remedy,
    retryable: true,
  });
  return [
    failure(
      /certificate has expired/i,
      "the server's certificate, or its authority's, has expired: renew it",
    ),
    failure(
      /wrong[ _]version[ _]number|packet[ _]length[ _]too[ _]long|record[ _]layer[ _]failure/i,
      "the server does not speak TLS: write http:// and no certificate files, or switch TLS on there",
    ),
    failure(
      /altname|does not match certificate/i,
      "the server's certificate is for another name: use the name that it carries as endpoint",
    ),
    failure(
      /alert|certificate[ _]required|bad[ _]certificate/i,
      `the server refuses our certificate: give one that its authority signed (${flags}-certfile, ${flags}-keyfile)`,
    ),
    failure(
      /self[- ]signed|unable to (get|verify)|certificate|SSL|TLS/i,
      `the server's certificate is not signed by an authority that we trust: give ${flags}-cafile`,
    ),
  ];
}

/** OpenSSL's reason for a failure, without thread, number, function and source file; BoringSSL's in the same form. */
export function withoutOpenSslFrame(text: string): string {
  return text
    .replace(/\w+:error:\w+:[\w ]+:\w*:([\w ]+):\S+:\d+: ?/, "$1 ")
    .replace(/error:\w+:[\w ]+:OPENSSL_internal:(\w+)/, (_, reason: string) =>
      reason.replaceAll("_", " ").toLowerCase(),
    )
    .trim();
}

/** Some libraries break lines, and OpenSSL ends with one. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

/**
 * The text for a person. Bun reports every failed connection as ECONNREFUSED, also where no route leads to the host or
 * the host does not answer. On the loopback interface it is what it says.
 */
export function connectionFailure(text: string, isBun = process.versions.bun !== undefined): string {
  if (!isBun) return text;
  return text.replace(
    /(?:ECONNREFUSED )?connect ECONNREFUSED (?!127\.|\[?::1\]?:|localhost:)(\S+:\d+)/,
    "cannot connect to $1",
  );
}
