/**
 * Notices that a server refuses connections, and that it accepts them again.
 *
 * Speaks no protocol and sends nothing: a connection is opened and closed.
 */

import { connect } from "node:net";
import type { StoreEnvironment } from "./options.ts";

/** A store is noticed at most this long after it listens; by chance earlier, so that hosts do not come at once. */
const INTERVAL_MS = 500;

export interface ProbeTarget {
  readonly host: string;
  readonly port: number;
}

/**
 * Resolves when one of `targets` accepts that did not at first. Never resolves for those that accept from the
 * beginning: what is wrong there lies above TCP. Rejects when the signal fires.
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

/** How a connection to `target` is refused, as Node words it; null when it is not, or not at once. */
export async function refusalOf(target: ProbeTarget): Promise<(Error & { readonly code: string }) | null> {
  const code = await knock(target);
  if (code === "accepted" || code === "silent") return null;
  return Object.assign(new Error(`connect ${code} ${target.host}:${target.port}`), { code });
}

/** True when an error's text says that the other side, or a router, refused the connection at once. */
export function isRefusal(text: string): boolean {
  return /connect (ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)/.test(text);
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
