/**
 * Finds out why a server could not be talked to, where the words of the client library leave it open: its name may
 * be unknown, or only one side speaks TLS. The same mistake has many wordings, by which packet comes first.
 *
 * One connection is opened, greeted in the other language and closed. Knows no store, and trusts nobody.
 */

import { lookup } from "node:dns/promises";
import { isIP, connect as tcpConnect } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { serverNameOf } from "./server-name.ts";

export interface DiagnosisTarget {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** Whether it was greeted with TLS. */
  readonly isTls: boolean;
}

/** For the resolver, and again for the server. Who fails to answer within it has been waited for already. */
const DEADLINE_MS = 1_000;

/** The name may not have been resolved. */
const MAY_BE_NAME = /Name resolution failed|ENOTFOUND|EAI_|timed out|no connection within/;

/** A connection was opened, and the other side did not like our greeting, or we its answer. */
const MAY_BE_LANGUAGE =
  /Failed to connect|ECONNRESET|socket hang up|Protocol error|disconnected before secure TLS|wrong version number|packet length too long|record layer failure/;

/** What is wrong with `target` behind an error of this `text`, in words that failures.ts knows; null when unclear. */
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
 * Says something that is no TLS to a server that should speak it and does not. Those written in Go answer it in plain
 * http even where they speak TLS, so that has to be ruled out first.
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

/** Greets a server with TLS. Nothing is sent to it, so it need not prove who it is. */
async function tlsSpeaker({ host, port }: DiagnosisTarget): Promise<string | null> {
  const socket = tlsConnect({ host, port, servername: serverNameOf(host), rejectUnauthorized: false });
  const answer = new Promise<string | null>((resolve) => {
    socket.once("secureConnect", () => resolve("the server speaks TLS"));
    // Whoever refuses our greeting by an alert speaks TLS as well.
    socket.on("error", ({ message }) => resolve(/alert/.test(message) ? "the server speaks TLS" : null));
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
