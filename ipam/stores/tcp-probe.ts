/**
 * Notices that a server which refused connections accepts them again.
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

async function accepts(target: ProbeTarget): Promise<boolean> {
  const socket = connect({ ...target, timeout: INTERVAL_MS });
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      for (const event of ["error", "timeout"]) socket.once(event, () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}
