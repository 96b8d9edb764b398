/** Settings under /proc/sys of one network namespace. Synchronous, because a namespace is entered by thread. */

import { readFileSync, writeFileSync } from "node:fs";
import { type NetnsHandle, withNetns } from "../netlink/netns.ts";
import type { SysctlObject } from "../state/kinds/sysctl.ts";

export class Sysctls {
  readonly #netns: NetnsHandle | undefined;

  constructor(netns?: NetnsHandle) {
    this.#netns = netns;
  }

  /** `sysctl -n PATH`; null when there is no such setting. */
  read(path: string): string | null {
    return this.#inside(() => {
      try {
        return readFileSync(`/proc/sys/${path}`, "utf8").trim();
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
    });
  }

  /** `sysctl -w PATH=VALUE`. Throws the file system's error. */
  write({ path, value }: SysctlObject): void {
    this.#inside(() => writeFileSync(`/proc/sys/${path}`, value));
  }

  #inside<T>(body: () => T): T {
    return this.#netns === undefined ? body() : withNetns(this.#netns, body);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
