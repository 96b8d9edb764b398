/**
 * Tells failures of etcd apart, each with its remedy in one line.
 *
 * gRPC reports most of them as UNAVAILABLE with the cause in the text, which is matched only here.
 */

import { errorMessage, StoreError, TulleError } from "../../errors.ts";
import {
  connectionFailure,
  diagnosedFailures,
  type Failure,
  oneLine,
  tlsFailures,
  withoutOpenSslFrame,
} from "../failures.ts";

/** The status codes of gRPC that are used here (grpc/status.h). */
export const GrpcStatus = {
  Cancelled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  Unauthenticated: 16,
} as const;

/** With these a server says that it did nothing. After any other failure the request may have been executed. */
const REFUSALS: ReadonlySet<number | null> = new Set([
  GrpcStatus.InvalidArgument,
  GrpcStatus.NotFound,
  GrpcStatus.PermissionDenied,
  GrpcStatus.ResourceExhausted,
  GrpcStatus.FailedPrecondition,
  GrpcStatus.OutOfRange,
  GrpcStatus.Unimplemented,
  GrpcStatus.Unauthenticated,
]);

/** A failure that we find ourselves, in gRPC's form. `text` is for people. */
export class UnavailableError extends Error {
  readonly code = GrpcStatus.Unavailable;

  constructor(text: string) {
    super(`14 UNAVAILABLE: ${text}`);
  }
}

/** The request has not left this host. */
export class NeverSentError extends UnavailableError {}

/** The first that matches `<status> <text>` counts. */
const FAILURES: readonly Failure[] = [
  ...diagnosedFailures({
    flag: "etcd-endpoints",
    server: "etcd",
    goPlain: "write http:// and give no certificate files",
  }),
  {
    code: "TULLE_STORE_UNREACHABLE",
    pattern: /No connection established.*(ECONNRESET|Failed to connect|disconnected before secure TLS)/,
    remedy: "something accepts the connection and closes it at once: check that etcd runs behind it",
    retryable: true,
  },
  ...tlsFailures("etcd"),
  {
    code: "TULLE_STORE_AUTH",
    pattern:
      /invalid user ID or password|user name is empty|invalid auth token|authentication is not enabled|auth: /i,
    remedy: "check etcd-username and etcd-password against the server's users",
    retryable: false,
  },
  {
    code: "TULLE_STORE_AUTH",
    pattern: /^7 |permission denied/i,
    remedy: "grant the user's role readwrite on the prefix",
    retryable: false,
  },
  {
    code: "TULLE_STORE_API",
    pattern: /^12 |HTTP status|Protocol error|NGHTTP2|Parse Error|unknown service|socket hang up/i,
    remedy:
      "the program that answers there is not etcd with the v3 API (3.4 or newer): correct etcd-endpoints; if it is Consul, give --store consul",
    retryable: true,
  },
  {
    code: "TULLE_STORE",
    pattern: /database space exceeded/i,
    remedy: "etcd's database is full: compact and defragment it, then disarm its alarm",
    retryable: true,
  },
  {
    code: "TULLE_STORE_UNREACHABLE",
    pattern:
      /^(1|4|13|14) |no leader|timed out|leader changed|context (deadline exceeded|canceled)|raft: stopped/i,
    remedy:
      "check that etcd runs there and has a quorum, and that routes and firewalls let this host reach it",
    retryable: true,
  },
];

/** The StoreError for a call that failed at several of `endpoints`, in the order of `failures`. */
export function etcdError(endpoints: string, operation: string, failures: readonly unknown[]): TulleError {
  const error = mostTelling(failures);
  if (error instanceof TulleError) return error;
  const failure = failureOf(error);
  return new StoreError(
    `etcd ${operation} at ${endpoints} failed: ${connectionFailure(essence(errorMessage(error)))}: ${failure?.remedy ?? "see etcd's log"}`,
    {
      code: failure?.code ?? "TULLE_STORE",
      retryable: failure?.retryable ?? true,
      details: { endpoints, operation, outcomeUnknown: !failures.every(wasNotDone) },
      cause: error,
    },
  );
}

/** The failure to report: a wrong answer tells more than none. */
function mostTelling(failures: readonly unknown[]): unknown {
  return failures.find((error) => failureOf(error)?.code !== "TULLE_STORE_UNREACHABLE") ?? failures.at(-1);
}

function failureOf(error: unknown): Failure | undefined {
  const text = oneLine(errorMessage(error));
  return FAILURES.find(({ pattern }) => pattern.test(text));
}

/** The text of gRPC's error without status, time, and a note that is mostly empty. */
function essence(text: string): string {
  return withoutOpenSslFrame(oneLine(text))
    .replace(/^\d+ [A-Z_]+: /, "")
    .replace(/^No connection established\. Last error: (Error( \[\w+\])?: )?/, "")
    .replace(/ ?Resolution note:$/, "")
    .replace(/ \(\d{4}-[\d-]+T[\d:.]+Z\)/, "")
    .replace(/[ .]+$/, "");
}

/** gRPC's status of an error, null when it has none. */
export function grpcStatus(error: unknown): number | null {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "number" ? code : null;
}

/** True when the server cannot have seen the request: it is safe to send it elsewhere, even a write. */
export function wasNeverSent(error: unknown): boolean {
  return (
    error instanceof NeverSentError ||
    /No connection established|Name resolution failed|Channel has been shut down|Channel closed before call/.test(
      errorMessage(error),
    )
  );
}

/** True when the request has surely changed nothing. */
function wasNotDone(error: unknown): boolean {
  return wasNeverSent(error) || REFUSALS.has(grpcStatus(error));
}

/** True when another server may succeed. */
export function isEndpointFailure(error: unknown): boolean {
  const status = grpcStatus(error);
  return (
    status === GrpcStatus.Unavailable ||
    status === GrpcStatus.DeadlineExceeded ||
    status === GrpcStatus.Unimplemented ||
    status === GrpcStatus.Internal ||
    (status === GrpcStatus.Unknown &&
      /HTTP status|Protocol|context (deadline|canceled)|raft: stopped/.test(errorMessage(error)))
  );
}

/** True when a new token may help: it expired, the server restarted, or the users changed. */
export function isStaleToken(error: unknown): boolean {
  return /invalid auth token|revision of auth store is old|user name is empty/.test(errorMessage(error));
}

/** True when the requested history is compacted, or never existed. */
export function isHistoryGone(error: unknown): boolean {
  return /required revision (has been compacted|is a future revision)/.test(errorMessage(error));
}

/** True when etcd says that the store lease is gone. */
export function isLeaseNotFound(error: unknown): boolean {
  return /requested lease not found/.test(errorMessage(error));
}
