/**
 * Probes TCP ports: detects that a server refuses connections, and that it accepts them again.
 *
 * A connection is opened and closed; no data is sent.
 */

import { connect } from "node:net";
import type { StoreEnvironment } from "./options.ts";

/** A listening store is detected within this time; with jitter, so that hosts do not return at once. */
const INTERVAL_MS = 500;

export interface ProbeTarget {
  readonly host: string;
  readonly port: number;
}

/**
 * Resolves when one of `targets` accepts that did not at first. Does not resolve for targets that accept from the
 * start: their problem is above TCP. Rejects when the signal fires.
 */
export async function untilAccepting(
  targets: readonly ProbeTarget[],
  { clock, random }: Pick<StoreEnvironment, "clock" | "random">,
  signal: AbortSignal,
): Promise<void> {
  const probeAll = async () => await Promise.all(targets.map(accepts));
  const atFirst = await probeAll();
  while (true) {
    await clock.sleep(INTERVAL_MS * (0.5 + random() / 2), signal);
    const now = await probeAll();
    if (now.some((isAccepting, index) => isAccepting && !atFirst[index])) return;
  }
}

/** The error, as Node words it, when a connection to `target` is refused at once; null otherwise. */
export async function refusalOf(target: ProbeTarget): Promise<(Error & { readonly code: string }) | null> {
  const code = await knock(target);
  if (code === "accepted" || code === "silent") return null;
  return Object.assign(new Error(`connect ${code} ${target.host}:${target.port}`), { code });
}

/** True when an error's text says that the other side, or a router, refused the connection at once. */
export function isRefusal(text: string): boolean {
  return /connect (ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)|cannot connect to /.test(text);
}

async function accepts(target: ProbeTarget): Promise<boolean> {
  return (await knock(target)) === "accepted";
}

/** `accepted`, `silent`, or the errno's name. */
async function knock({ host, port }: ProbeTarget): Promise<string> {
  const socket = connect({ host, port, timeout: INTERVAL_MS });
  try {
    return await new Promise<string>((resolve) => {
      socket.once("connect", () => resolve("accepted"));
      socket.once("timeout", () => resolve("silent"));
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  } finally {
    socket.destroy();
  }
}
