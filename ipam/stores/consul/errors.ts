/**
 * Tells failures of Consul apart, each with its remedy in one line.
 *
 * Consul answers with a status and a line of text; a request that did not reach it fails with an errno name. Both are
 * matched only here.
 */

import type { IncomingMessage } from "node:http";
import { ConfigError, errorMessage, StoreError, TulleError } from "../../errors.ts";
import {
  connectionFailure,
  diagnosedFailures,
  type Failure,
  oneLine,
  tlsFailures,
  withoutOpenSslFrame,
} from "../failures.ts";

/** A call as errors name it. */
export interface ConsulOperation {
  /** `kv.get`, `session.create`, … */
  readonly name: string;
  /** The rule that the token needs for it, in Consul's own language: `key_prefix "p/" { policy = "read" }`. */
  readonly right: string;
}

const NO_CONSUL =
  "the program that answers there is not Consul: correct consul-address; if it is etcd, give --store etcd";

/** Without an HTTP answer; the first that matches `<errno name> <text>` counts. */
const CONNECTION_FAILURES: readonly Failure[] = [
  ...diagnosedFailures({
    flag: "consul-address",
    server: "Consul",
    goPlain: "write http://, without certificate files and without consul-ssl (CONSUL_HTTP_SSL)",
  }),
  {
    code: "TULLE_STORE_API",
    pattern: /HPE_|Parse Error|decode \(/,
    remedy: NO_CONSUL,
    retryable: true,
  },
  {
    code: "TULLE_STORE_UNREACHABLE",
    pattern: /^(ECONN|EHOST|ENET|ENOTFOUND|EAI_|ETIMEDOUT|EPIPE|ENOENT|EACCES)|timed out|socket hang up/,
    remedy: "check that Consul runs there, and that routes and firewalls let this host reach it",
    retryable: true,
  },
  ...tlsFailures("consul"),
];

/** With an HTTP answer; the first that matches `<status> <text>` counts. */
const ANSWER_FAILURES: readonly Failure[] = [
  {
    code: "TULLE_STORE_TLS",
    pattern: /HTTP request to an HTTPS server/,
    remedy: "the server speaks TLS only: write https://",
    retryable: true,
  },
  {
    code: "TULLE_STORE_AUTH",
    pattern: /ACL not found|^401 /,
    remedy: "the servers reject the token: check consul-token, consul-token-file and consul-http-auth",
    retryable: false,
  },
  {
    code: "TULLE_STORE_UNREACHABLE",
    pattern: /No cluster leader|^5\d\d .*(rpc error|leadership|EOF|not ready)|^50[234] /i,
    remedy: "check that most of the Consul servers run and reach each other",
    retryable: true,
  },
  {
    code: "TULLE_STORE",
    pattern: /No path to datacenter/,
    remedy: "correct consul-datacenter, or check the link between the datacenters",
    retryable: true,
  },
  {
    code: "TULLE_STORE_API",
    pattern: /^(30\d|404|405|406|410|415|426|501) /,
    remedy: NO_CONSUL,
    retryable: true,
  },
];

/** Errno names under which nothing of the request can have reached a server. */
const NEVER_SENT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT|EACCES|EPROTO|ERR_|CERT_)/;

/** The error for what a call to the server at `url` threw. `found` is what diagnosis.ts says about it. */
export function consulError(
  url: string,
  operation: ConsulOperation,
  error: unknown,
  found: string | null = null,
): TulleError {
  if (error instanceof TulleError) return error;
  const answer = answerOf(error);
  const text = answer ? answer.text : connectionText(error);
  if (answer && /Permission denied/i.test(text)) return permissionDenied(url, operation, text);
  const ttl = /Session TTL '(\d+)', must be between \[(.*)\]/.exec(text);
  if (ttl) return ttlRefused(Number(ttl[1]) / 1e9, ttl[2] ?? "");
  const failures = answer ? ANSWER_FAILURES : CONNECTION_FAILURES;
  const line = answer ? `${answer.status} ${text}` : (found ?? text);
  const failure = failures.find(({ pattern }) => pattern.test(line));
  const isTls = found === null && failure?.code === "TULLE_STORE_TLS";
  const wasNotDone = answer ? answer.status < 500 || /No cluster leader/.test(text) : NEVER_SENT.test(text);
  return new StoreError(
    `consul ${operation.name} at ${url} failed: ${connectionFailure(withoutOpenSslFrame(line))}: ${failure?.remedy ?? "see Consul's log"}`,
    {
      code: failure?.code ?? "TULLE_STORE",
      retryable: failure?.retryable ?? true,
      details: { url, operation: operation.name, outcomeUnknown: !wasNotDone && !isTls },
      cause: error,
    },
  );
}

/** The token may not do that; the message says which rule is missing. */
export function permissionDenied(url: string, operation: ConsulOperation, text: string): StoreError {
  return new StoreError(
    `consul ${operation.name} at ${url} failed: ${text}: the token needs the rule ${operation.right}`,
    {
      code: "TULLE_STORE_AUTH",
      details: { url, operation: operation.name, right: operation.right, outcomeUnknown: false },
    },
  );
}

/** Something answers, but not as Consul does. */
export function noConsul(url: string, operation: ConsulOperation, what: string): StoreError {
  return new StoreError(`consul ${operation.name} at ${url} failed: ${what}: ${NO_CONSUL}`, {
    code: "TULLE_STORE_API",
    retryable: true,
    details: { url, operation: operation.name, outcomeUnknown: true },
  });
}

/** Consul keeps sessions of 10 seconds to a day, or as its session_ttl_min says. */
export function ttlRefused(ttlSeconds: number, bounds: string): ConfigError {
  const [minimum, maximum] = bounds.split("=");
  return new ConfigError(
    `subnet-lease-ttl is ${ttlSeconds}s, but this Consul keeps sessions of ${minimum} to ${maximum} only: give a duration between`,
    { details: { ttlSeconds, minimum, maximum } },
  );
}

/** True when another server may do better. */
export function isServerFailure(error: unknown): boolean {
  return (
    error instanceof StoreError && /^TULLE_STORE_(UNREACHABLE|API|TLS)$/.test(error.code) && error.retryable
  );
}

/** The HTTP answer behind an error that the client library threw, null when there was none. */
export function responseOf(error: unknown): ErrorResponse | null {
  const response: unknown = error instanceof Error && "response" in error ? error.response : null;
  const isResponse = typeof response === "object" && response !== null && "statusCode" in response;
  return isResponse && typeof response.statusCode === "number" ? (response as ErrorResponse) : null;
}

interface ErrorResponse extends IncomingMessage {
  readonly statusCode: number;
  readonly body?: unknown;
}

function answerOf(error: unknown): { readonly status: number; readonly text: string } | null {
  const response = responseOf(error);
  if (!response) return null;
  const body = response.body;
  const text = typeof body === "string" || Buffer.isBuffer(body) ? String(body) : "";
  return {
    status: response.statusCode,
    text: oneLine(text).slice(0, 200) || "without text",
  };
}

/**
 * The text of the error of a call without an answer: `<errno name> <text>`. Node groups the failures of a name's
 * several addresses; the first one is used.
 */
export function connectionText(error: unknown): string {
  const first = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  const code = first instanceof Error && "code" in first ? `${first.code} ` : "";
  return code + oneLine(errorMessage(first).replace(/^consul: [\w.]+: /i, ""));
}
