/**
 * A TCP proxy on loopback that can cut a server off from its clients in both ways in which a network fails: silently,
 * as a firewall or a pulled cable does, or with a reset, as a restarted host does. It can delay all that it carries.
 */

import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface TcpProxy {
  readonly host: string;
  readonly port: number;
  /** Bytes carried in both directions so far. */
  readonly bytes: number;
  /** From now on nothing passes and nothing is closed; new connections are accepted and lead nowhere. */
  pause(): void;
  /** Everything passes again. What was held back is delivered, as TCP would. */
  resume(): void;
  /** From now on each packet takes so long in each direction. */
  delay(ms: number): void;
  /** Resets all connections. */
  reset(): void;
  close(): Promise<void>;
}

/** Starts a proxy to `targetPort` of loopback. Each packet takes `delayMs` in each direction. */
export async function startTcpProxy(targetPort: number, { delayMs = 0 } = {}): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let held: (() => void)[] = [];
  let nowMs = delayMs;
  let isPaused = false;
  let bytes = 0;
  const carry = (from: Socket, to: Socket): void => {
    sockets.add(from);
    const deliver = (chunk: Buffer): void => {
      if (isPaused) held.push(() => to.write(chunk));
      else to.write(chunk);
    };
    from.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (nowMs === 0) deliver(chunk);
      else setTimeout(deliver, nowMs, chunk);
    });
    from.on("error", () => from.destroy());
    from.on("close", () => {
      sockets.delete(from);
      if (nowMs === 0) to.destroy();
      else setTimeout(() => to.destroy(), nowMs);
    });
  };
  const server = createServer((inner) => {
    const outer = connect(targetPort, "127.0.0.1");
    carry(inner, outer);
    carry(outer, inner);
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const reset = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    host: "127.0.0.1",
    port: (server.address() as AddressInfo).port,
    get bytes() {
      return bytes;
    },
    pause: () => {
      isPaused = true;
    },
    resume: () => {
      isPaused = false;
      for (const deliver of held) deliver();
      held = [];
    },
    delay: (ms) => {
      nowMs = ms;
    },
    reset,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      reset();
      await closed;
    },
  };
}
