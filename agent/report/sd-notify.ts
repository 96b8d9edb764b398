/**
 * Tells the service manager how the daemon is doing (sd_notify(3)).
 *
 * Node has no datagram sockets of the unix family, hence libc. A message that cannot be delivered is dropped,
 * as sd_notify's own callers do: the daemon's work never depends on who watches it.
 */

import * as libc from "../../backends/netlink/libc.ts";
import { SOCK_CLOEXEC, SOCK_DGRAM } from "../../backends/netlink/socket-constants.ts";

const AF_UNIX = 1;

export interface NotifyEnvironment {
  readonly NOTIFY_SOCKET?: string | undefined;
  readonly WATCHDOG_USEC?: string | undefined;
  readonly WATCHDOG_PID?: string | undefined;
}

/** The service manager; every call does nothing when none started us. */
export interface ServiceNotifier {
  /** How often it expects `watchdog()`, in milliseconds; null when it does not. Call at half of that. */
  readonly watchdogMs: number | null;
  ready(status: string): void;
  status(text: string): void;
  stopping(): void;
  /** `monotonicMs` of the moment the reload began; `ready` ends it. */
  reloading(monotonicMs: number): void;
  watchdog(): void;
  /** Gives it a copy of a descriptor for the next run. `name` has no colon (sd_pid_notify_with_fds(3)). */
  keep(name: string, fd: number): void;
  /** Has it close what it keeps under this name. */
  forget(name: string): void;
  close(): void;
}

/** Connects to $NOTIFY_SOCKET; without one, or when it cannot be reached, every call does nothing. */
export function openNotifier(environment: NotifyEnvironment, pid: number): ServiceNotifier {
  const fd = connectTo(environment.NOTIFY_SOCKET ?? "");
  const send = (...lines: readonly string[]): void => {
    if (fd !== null) libc.send(fd, Buffer.from(`${lines.join("\n")}\n`));
  };
  return {
    watchdogMs: fd === null ? null : watchdogMs(environment, pid),
    ready: (status) => send("READY=1", statusLine(status)),
    status: (text) => send(statusLine(text)),
    stopping: () => send("STOPPING=1"),
    reloading: (monotonicMs) => send("RELOADING=1", `MONOTONIC_USEC=${Math.floor(monotonicMs * 1000)}`),
    watchdog: () => send("WATCHDOG=1"),
    keep: (name, kept) => {
      if (fd !== null) libc.sendDescriptor(fd, Buffer.from(`FDSTORE=1\nFDNAME=${name}\n`), kept);
    },
    forget: (name) => send("FDSTOREREMOVE=1", `FDNAME=${name}`),
    close: () => {
      if (fd !== null) libc.close(fd);
    },
  };
}

/** One message is several lines, so a status is one. */
function statusLine(text: string): string {
  return `STATUS=${text.replaceAll("\n", " ")}`;
}

function watchdogMs({ WATCHDOG_USEC, WATCHDOG_PID }: NotifyEnvironment, pid: number): number | null {
  const isForUs = WATCHDOG_PID === undefined || WATCHDOG_PID === String(pid);
  const microseconds = Number(WATCHDOG_USEC);
  return isForUs && microseconds > 0 ? microseconds / 1000 : null;
}

function connectTo(path: string): number | null {
  if (!/^[/@]./.test(path)) return null;
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return null;
  if (libc.connect(fd, socketAddress(path)) >= 0) return fd;
  libc.close(fd);
  return null;
}

/** `struct sockaddr_un` (unix(7)); a leading @ stands for the abstract namespace. */
function socketAddress(path: string): Buffer {
  const name = path.startsWith("@") ? Buffer.from(`\0${path.slice(1)}`) : Buffer.from(`${path}\0`);
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name]);
}
