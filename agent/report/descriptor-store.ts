/**
 * The service manager's descriptor store (FileDescriptorStoreMax= in systemd.service(5)): it holds descriptors between two
 * runs of the daemon, and passes them to the next as sd_listen_fds(3) describes.
 *
 * Packets that arrive meanwhile wait in the queues of the devices and sockets that these descriptors hold open.
 */

import type { KeptDescriptors } from "../../backends/kept-descriptors.ts";
import * as libc from "../../backends/netlink/libc.ts";
import type { ServiceNotifier } from "./sd-notify.ts";

/** SD_LISTEN_FDS_START of sd-daemon.h. */
const FIRST = 3;
/** asm-generic/ioctls.h: sets close-on-exec, so that no program that the daemon runs gets the descriptor. */
const FIOCLEX = 0x5451;

export interface ListenEnvironment {
  readonly LISTEN_PID?: string | undefined;
  readonly LISTEN_FDS?: string | undefined;
  readonly LISTEN_FDNAMES?: string | undefined;
}

export class DescriptorStore implements KeptDescriptors {
  readonly #notifier: Pick<ServiceNotifier, "keep" | "forget">;
  readonly #received: Map<string, number>;
  readonly #kept = new Set<string>();
  #isEnding = false;

  constructor(
    environment: ListenEnvironment,
    pid: number,
    notifier: Pick<ServiceNotifier, "keep" | "forget">,
  ) {
    this.#notifier = notifier;
    this.#received = receivedDescriptors(environment, pid);
    for (const fd of this.#received.values()) libc.ioctl(fd, FIOCLEX, 0);
  }

  take(name: string): number | null {
    const fd = this.#received.get(name) ?? null;
    if (fd !== null) this.#kept.add(name);
    this.#received.delete(name);
    return fd;
  }

  keep(name: string, fd: number): void {
    if (this.#kept.has(name)) return;
    this.#kept.add(name);
    this.#notifier.keep(name, fd);
  }

  forget(name: string): void {
    if (!this.#isEnding && this.#kept.delete(name)) this.#notifier.forget(name);
  }

  /** Closes what a former run kept and this one has not taken. */
  discardRest(): void {
    for (const [name, fd] of this.#received) {
      libc.close(fd);
      this.#notifier.forget(name);
    }
    this.#received.clear();
  }

  /** The daemon ends: what is kept now is for the next run. */
  end(): void {
    this.#isEnding = true;
  }
}

function receivedDescriptors(
  { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES }: ListenEnvironment,
  pid: number,
): Map<string, number> {
  const count = Number(LISTEN_FDS);
  // A program's children have its variables too.
  if (LISTEN_PID !== String(pid) || !(count > 0)) return new Map();
  const names = (LISTEN_FDNAMES ?? "").split(":");
  return new Map(Array.from({ length: count }, (_, index) => [names[index] ?? "", FIRST + index]));
}
