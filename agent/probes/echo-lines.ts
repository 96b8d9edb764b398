/** Opens the sockets for echo requests, one for each family that this host has. */

import { randomInt } from "node:crypto";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import { EchoPort } from "../../backends/probe/echo-port.ts";
import { FAMILIES, type Family, mapFamilies, type PerFamily } from "../../ipam/addresses/ip.ts";
import { TulleError } from "../../ipam/errors.ts";
import { EchoLine, type EchoListener } from "./echo-line.ts";

export interface EchoLines {
  readonly lines: PerFamily<EchoLine>;
  /** Gives up requests that have waited long enough: to be called often. */
  expire(): void;
  /** Call it once. */
  close(): void;
}

/**
 * `now` is monotonic, in milliseconds; `listener` gets what arrives without having been asked for. Throws
 * TULLE_PREREQUISITE without CAP_NET_RAW.
 */
export function openEchoLines(now: () => number, listener: EchoListener): EchoLines {
  const ports = openPorts();
  const lines = mapFamilies(ports, (port) => {
    // Hard to guess, so that no program answers ahead.
    const line = new EchoLine(port, now, randomInt(0x10000), listener);
    line.listen();
    return line;
  });
  return {
    lines,
    expire: () => {
      for (const line of Object.values(lines)) line.expire();
    },
    close: () => {
      for (const port of Object.values(ports)) port.close();
    },
  };
}

function openPorts(): PerFamily<EchoPort> {
  const ports: Partial<Record<Family, EchoPort>> = {};
  const id = randomInt(1, 0x10000);
  for (const family of FAMILIES) {
    try {
      ports[family] = EchoPort.open(family, id);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      if (error.errnoName === "EAFNOSUPPORT") continue; // a kernel without IPv6
      for (const port of Object.values(ports)) port.close();
      throw new TulleError(
        "TULLE_PREREQUISITE",
        `no socket for echo requests: ${error.message}; run as root, or with CAP_NET_RAW`,
        { cause: error },
      );
    }
  }
  return ports;
}
