/**
 * Reads the addresses of all containers from the kernel many times a second: no two may have the same one at any time,
 * whatever engines and agents say.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SUBNET_START } from "./chaos-host.ts";

const EVERY_MS = 200;
const CGROUPS = "/sys/fs/cgroup";

export class WatchedAddresses {
  readonly #cgroups: readonly string[];
  readonly #timer: NodeJS.Timeout;
  /** One sentence for each address that two containers had at once. */
  readonly duplicates = new Set<string>();
  /** Addresses that were read. */
  count = 0;

  /** `cgroups`: the last part of the path of each host's control groups. */
  constructor(cgroups: readonly string[]) {
    this.#cgroups = cgroups;
    this.#timer = setInterval(() => this.#read(), EVERY_MS);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #read(): void {
    const holders = new Map<string, string>();
    for (const { id, pid } of this.#cgroups.flatMap(containersIn)) {
      for (const address of addressesOf(pid)) {
        this.count += 1;
        const other = holders.get(address);
        if (other !== undefined && other !== id)
          this.duplicates.add(`${address} is of ${other.slice(0, 12)} and of ${id.slice(0, 12)}`);
        holders.set(address, id);
      }
    }
  }
}

interface RunningContainer {
  readonly id: string;
  readonly pid: string;
}

function containersIn(cgroup: string): readonly RunningContainer[] {
  const folder = ["pids", "memory", "unified", ""]
    .map((each) => join(CGROUPS, each, cgroup))
    .find(existsSync);
  if (folder === undefined) return [];
  return readOrEmpty(() => readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name))).flatMap(
    (id) => {
      const pids = readOrEmpty(() => readFileSync(join(folder, id, "cgroup.procs"), "utf8").split("\n"));
      return pids[0] ? [{ id, pid: pids[0] }] : [];
    },
  );
}

/** proc_pid_net(5): the routing table "local" as a trie. */
function addressesOf(pid: string): readonly string[] {
  const lines = readOrEmpty(() => readFileSync(`/proc/${pid}/net/fib_trie`, "utf8").split("\n"));
  const found = lines.flatMap((line, at) => {
    const address = /\|-- (\S+)$/.exec(line)?.[1];
    const isLocal = lines[at + 1]?.includes("/32 host LOCAL") === true;
    return address?.startsWith(SUBNET_START) && isLocal ? [address] : [];
  });
  return [...new Set(found)];
}

/** Containers and their groups end while they are read. */
function readOrEmpty<T>(read: () => readonly T[]): readonly T[] {
  try {
    return read();
  } catch {
    return [];
  }
}
