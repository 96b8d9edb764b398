/** A published port, as a value. No I/O. */

import type { Address } from "../../../ipam/addresses/ip.ts";

export interface PublishedPort {
  readonly protocol: "tcp" | "udp" | "sctp";
  /** null means every address of the host but loopback; the unspecified address every one of its family. */
  readonly hostAddress: Address | null;
  /** The first of `count` ports in a row, each of which leads to its counterpart. */
  readonly hostPort: number;
  readonly containerPort: number;
  readonly count: number;
}
