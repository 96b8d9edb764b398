/** The host's resolvers, from resolv.conf(5). Follows the file: changed or replaced, also behind a symbolic link. */

import { statSync } from "node:fs";
import { isIP } from "node:net";
import { readRequiredFile } from "../../ipam/files/read.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import { DNS_PORT, NAME_SERVER } from "./name-server-address.ts";

/** A server to ask. */
export interface Upstream {
  /** An address, for IPv6 with a zone where it needs one: `fe80::1%eth0`. */
  readonly host: string;
  readonly port: number;
}

/** As the C library: only so many servers are ever asked (resolv.h, MAXNS). */
const MAX_SERVERS = 3;
/** How often the file is looked at, at most. Looking costs some microseconds. */
const LOOK_MS = 1000;

/** The servers that a resolv.conf names, without ourselves. A line without an address is skipped, as the C library does. */
export function parseResolvConf(text: string): readonly Upstream[] {
  const hosts = text.split("\n").flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
  const usable = hosts.filter((host) => isIP(host) !== 0 && host !== NAME_SERVER.toString());
  return [...new Set(usable)].slice(0, MAX_SERVERS).map((host) => ({ host, port: DNS_PORT }));
}

export interface ResolvConfOptions {
  readonly path: string;
  readonly clock: { monotonicMs(): number };
  readonly logger: Logger;
}

export class ResolvConf {
  readonly #options: ResolvConfOptions;
  readonly #failures: FailureSeries;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  /** What tells a file from its successor. */
  #version = "";
  #upstreams: readonly Upstream[] = [];

  constructor(options: ResolvConfOptions) {
    this.#options = options;
    const { logger, path } = options;
    this.#failures = new FailureSeries(logger, `cannot read ${path}`, `${path} can be read again`);
  }

  /** The servers as of the last second; the last known ones while the file cannot be read. */
  get upstreams(): readonly Upstream[] {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#lookedAtMs >= LOOK_MS) {
      this.#lookedAtMs = nowMs;
      this.#look();
    }
    return this.#upstreams;
  }

  #look(): void {
    const { path, logger } = this.#options;
    try {
      const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
      const version = [dev, ino, size, mtimeMs, ctimeMs].join();
      if (version !== this.#version) {
        this.#upstreams = parseResolvConf(readRequiredFile(path));
        this.#version = version;
        logger.info("resolvers of the host", { path, servers: this.#upstreams.map(({ host }) => host) });
      }
      this.#failures.succeeded();
    } catch (error) {
      this.#failures.failed(error);
    }
  }
}
