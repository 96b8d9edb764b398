/** Hears of routes as the kernel makes and deletes them, with the moment at which that was. */

import { NetlinkMonitor } from "../../../backends/netlink/monitor.ts";
import { decodeRoute } from "../../../backends/netlink/route.ts";
import { RTM_DELROUTE, RTM_NEWROUTE, RTNLGRP_IPV4_ROUTE } from "../../../backends/netlink/rtnetlink.ts";

export class RouteEvents {
  readonly #monitor: NetlinkMonitor;
  #waiting: { readonly text: string; readonly resolve: (atMs: number) => void } | null = null;

  constructor() {
    this.#monitor = NetlinkMonitor.open({
      groups: [RTNLGRP_IPV4_ROUTE],
      onMessages: (messages) => {
        const atMs = performance.now();
        for (const message of messages) {
          if (message.type !== RTM_NEWROUTE && message.type !== RTM_DELROUTE) continue;
          const route = decodeRoute(message);
          const text = `${message.type === RTM_NEWROUTE ? "+" : "-"}${route?.destination}`;
          if (this.#waiting?.text === text) this.#waiting.resolve(atMs);
        }
      },
      onOverflow: () => undefined,
      onError: (error) => {
        throw error;
      },
    });
  }

  /** When the next route to `destination` is made (`+`) or deleted (`-`). Rejects after ten seconds. */
  next(sign: "+" | "-", destination: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const text = `${sign}${destination}`;
      const timer = setTimeout(() => reject(new Error(`no ${text} within 10 s`)), 10_000);
      this.#waiting = {
        text,
        resolve: (atMs) => {
          clearTimeout(timer);
          this.#waiting = null;
          resolve(atMs);
        },
      };
    });
  }

  close(): void {
    this.#monitor.close();
  }
}
