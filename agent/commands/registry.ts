/**
 * Every command of `tulle`, in the order of its help. A new command is one file in this folder and one line here.
 *
 * Nothing but names and summaries is loaded from here: a command's own code waits until it is called.
 */

import type { CommandModule } from "../terminal/command.ts";

export interface CommandEntry {
  readonly name: string;
  /** One line without a full stop, for the list of commands. */
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "status",
    summary: "how the daemon on this host is doing",
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "doctor",
    summary: "examine this host: kernel, store, interface, device, leases",
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "net",
    summary: "write, show or check the network configuration in the store",
    load: async () => (await import("./net.ts")).net,
  },
  {
    name: "leases",
    summary: "list all leases of the network",
    load: async () => (await import("./leases.ts")).leases,
  },
  {
    name: "lease",
    summary: "show, check, reserve, release or revoke leases",
    load: async () => (await import("./lease.ts")).lease,
  },
  {
    name: "docker-opts",
    summary: "write subnet.env as options for dockerd, like mk-docker-opts.sh",
    load: async () => (await import("./docker-opts.ts")).dockerOpts,
  },
  {
    name: "demo",
    summary: "a network of three hosts on this machine, made and removed before your eyes",
    load: async () => (await import("./demo.ts")).demo,
  },
  {
    name: "docker",
    summary: "make dockerd use this host's subnet and MTU, or undo that",
    load: async () => (await import("./docker.ts")).docker,
  },
  {
    name: "cni",
    summary: "install the CNI plugin, look after containers' addresses",
    load: async () => (await import("./cni.ts")).cni,
  },
  {
    name: "cleanup",
    summary: "remove what tulled made on this host, and nothing else",
    load: async () => (await import("./cleanup.ts")).cleanup,
  },
  {
    name: "version",
    summary: "print the version",
    load: async () => (await import("./version.ts")).version,
  },
];
