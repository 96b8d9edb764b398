/**
 * Every command of `tulle`, in the order of its help. A new command is one file in this folder and one line here.
 *
 * It holds names and summaries only: the code of a command is loaded when the command is called.
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
    summary: "show the state of the daemon on this host",
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "connectivity",
    summary: "measure the paths to all peers, or to some: round trip, loss, MTU, and why not",
    load: async () => (await import("./connectivity.ts")).connectivity,
  },
  {
    name: "explain",
    summary: "show how a packet goes from this host or a container of it, where it ends and why",
    load: async () => (await import("./explain.ts")).explain,
  },
  {
    name: "events",
    summary: "show the last changes of state on this host",
    load: async () => (await import("./events.ts")).events,
  },
  {
    name: "doctor",
    summary: "examine this host: kernel, store, interface, device, leases, routes",
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "report",
    summary: "write one file with all that a bug report needs, without secrets",
    load: async () => (await import("./report.ts")).report,
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
    name: "network",
    summary: "create, list, show or remove named networks, and their addresses",
    load: async () => (await import("./network.ts")).network,
  },
  {
    name: "ps",
    summary: "list containers in named networks, their addresses and hosts",
    load: async () => (await import("./ps.ts")).ps,
  },
  {
    name: "docker-opts",
    summary: "write subnet.env as options for dockerd, like mk-docker-opts.sh",
    load: async () => (await import("./docker-opts.ts")).dockerOpts,
  },
  {
    name: "demo",
    summary: "create a three-host network on this machine, show it, remove it",
    load: async () => (await import("./demo.ts")).demo,
  },
  {
    name: "docker",
    summary: "configure dockerd for this host's subnet and MTU, or undo that",
    load: async () => (await import("./docker.ts")).docker,
  },
  {
    name: "cni",
    summary: "install the CNI plugin, list and release containers' addresses",
    load: async () => (await import("./cni.ts")).cni,
  },
  {
    name: "cleanup",
    summary: "remove everything that tulled created on this host",
    load: async () => (await import("./cleanup.ts")).cleanup,
  },
  {
    name: "version",
    summary: "print the version",
    load: async () => (await import("./version.ts")).version,
  },
];
