/**
 * Finds out why a connection failed where the client library's text is ambiguous: the name is unknown, or only one side
 * speaks TLS. The text depends on which packet arrives first.
 *
 * Opens one connection, sends the start of the other protocol and closes it. Independent of the kind of store; no
 * certificate is verified.
 */

import { lookup } from "node:dns/promises";
import { isIP, connect as tcpConnect } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { serverNameOf } from "./server-name.ts";

export interface DiagnosisTarget {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** Whether the failed connection used TLS. */
  readonly isTls: boolean;
}

/** For the resolver, and again for the server: the failed call has waited for both before. */
const DEADLINE_MS = 1_000;

/** Texts of errors that an unresolved name can cause. */
const MAY_BE_NAME = /Name resolution failed|ENOTFOUND|EAI_|timed out|no connection within/;

/** Texts of errors that TLS on one side only can cause. Bun's BoringSSL joins words by underscores. */
const MAY_BE_LANGUAGE =
  /Failed to connect|ECONNRESET|socket hang up|Protocol error|disconnected before secure TLS|wrong[ _]version[ _]number|packet[ _]length[ _]too[ _]long|record[ _]layer[ _]failure/i;

/** The cause behind an error of `target` with this `text`, worded as failures.ts matches it; null when unclear. */
export async function diagnose(target: DiagnosisTarget, text: string): Promise<string | null> {
  if (MAY_BE_NAME.test(text)) return await unresolved(target.host);
  if (!MAY_BE_LANGUAGE.test(text)) return null;
  return target.isTls ? await plainSpeaker(target) : await tlsSpeaker(target);
}

async function unresolved(host: string): Promise<string | null> {
  if (isIP(host) !== 0) return null;
  const found = lookup(host).then(
    () => null,
    (error: NodeJS.ErrnoException) => `the name ${host} cannot be resolved (${error.code})`,
  );
  return await withDeadline(found, `the name ${host} is not resolved in time (EAI_AGAIN)`);
}

/**
 * Sends a plain HTTP request to a server that does not complete TLS. Servers written in Go answer such a request in
 * plain HTTP even where they speak TLS, so that is ruled out first.
 */
async function plainSpeaker(target: DiagnosisTarget): Promise<string | null> {
  if ((await tlsSpeaker(target)) !== null) return null;
  const { host, port } = target;
  const socket = tcpConnect({ host, port });
  const answer = new Promise<string | null>((resolve) => {
    socket.once("connect", () => socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
    socket.once("data", (bytes: Buffer) => {
      const isHttp = bytes.toString("latin1").startsWith("HTTP/");
      resolve(isHttp ? "the server speaks plain http" : "the server speaks neither TLS nor http");
    });
    for (const event of ["error", "close"]) socket.on(event, () => resolve(null));
  });
  return await withDeadline(answer, null).finally(() => socket.destroy());
}

/** Starts TLS with a server. No data is sent, so its certificate is not verified. */
async function tlsSpeaker({ host, port }: DiagnosisTarget): Promise<string | null> {
  const socket = tlsConnect({ host, port, servername: serverNameOf(host), rejectUnauthorized: false });
  const answer = new Promise<string | null>((resolve) => {
    socket.once("secureConnect", () => resolve("the server speaks TLS"));
    // A server that answers with an alert speaks TLS as well.
    socket.on("error", ({ message }) => resolve(/alert/i.test(message) ? "the server speaks TLS" : null));
    socket.once("close", () => resolve(null));
  });
  return await withDeadline(answer, null).finally(() => socket.destroy());
}

async function withDeadline<T>(found: Promise<T>, otherwise: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(otherwise), DEADLINE_MS);
  });
  return await Promise.race([found, late]).finally(() => clearTimeout(timer));
}
