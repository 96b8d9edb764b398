/** Puts together what `tulle status` shows of a network that this host has joined. Pure. */

import type { FirewallStatus } from "../../backends/firewall/guard.ts";
import { describeRepair } from "../../backends/firewall/repair-history.ts";
import type { ReconcilerStatus } from "../../backends/kernel/reconciler.ts";
import type { LeaseSnapshot } from "../../ipam/leases/lease.ts";
import type { OwnLease } from "../../ipam/leases/own-lease.ts";
import type { StatusReport } from "../report/status.ts";
import type { Attachment } from "./attachment.ts";

export interface AgentView {
  readonly version: string;
  readonly isReady: boolean;
  readonly store: string;
  readonly attachment: Attachment;
  readonly lease: OwnLease;
  readonly snapshot: LeaseSnapshot;
  readonly kernel: ReconcilerStatus;
  readonly firewall: FirewallStatus;
  /** Problems of the network's configuration and of the host's interface. */
  readonly problems: readonly string[];
  readonly nowMs: number;
}

/** The whole report. */
export function statusReport(view: AgentView): StatusReport {
  const { attachment, lease, snapshot, kernel } = view;
  const { host, chosen, backend, networkConfig } = attachment;
  const secondsLeft = Math.max(0, Math.round((lease.deadlineMs - view.nowMs) / 1000));
  return {
    version: view.version,
    isReady: view.isReady,
    store: view.store,
    interface: {
      name: host.interface,
      publicAddress: Object.values(host.publicAddresses).join(", "),
      reason: chosen.reason,
    },
    network: {
      ranges: Object.values(networkConfig.families).map(({ network }) => network.toString()),
      backend: backend.type,
    },
    lease: {
      key: lease.entry.key,
      state: lease.state.state,
      reason: lease.state.state === "held" ? null : lease.state.reason,
      secondsLeft: Number.isFinite(secondsLeft) ? secondsLeft : null,
    },
    devices: Object.values(backend.devices).map((name) => ({ name, mtuBytes: backend.mtuBytes })),
    peers: [...snapshot.peers.values()].map((peer) => ({
      key: peer.key,
      publicAddress: Object.values(peer.attrs.publicAddress).join(", "),
      path: backend.pathTo(peer),
      isHeld: snapshot.held.has(peer.key),
    })),
    refused: [...snapshot.refused.values()],
    kernel,
    firewall: view.firewall,
    problems: problemsOf(view),
  };
}

/** What a person should look at, the gravest first. */
export function problemsOf({ lease, snapshot, kernel, firewall, problems }: AgentView): readonly string[] {
  return [
    ...(lease.state.state === "held" ? [] : [`our lease ${lease.entry.key} is lost: ${lease.state.reason}`]),
    ...problems,
    ...(snapshot.held.size === 0
      ? []
      : [`${snapshot.held.size} vanished peers are kept for now: the store may be at fault`]),
    ...[...snapshot.refused.values()].map(({ reason }) => reason),
    ...kernel.conflicts.map(({ key, reason }) => `${key}: ${reason}`),
    ...(kernel.trouble === null ? [] : [`the kernel's state cannot be read or changed: ${kernel.trouble}`]),
    ...kernel.failures.map(({ message, others }) =>
      others === 0 ? message : `${message} (and ${others} more of the sort)`,
    ),
    ...(firewall.note === null ? [] : [`firewall: ${firewall.note}`]),
    ...(firewall.lastError === null ? [] : [`firewall: ${firewall.lastError}`]),
    ...firewallQuarrel(firewall),
    ...kernel.contended.map(
      ({ key, repairs, evidence }) =>
        `${key} was undone ${repairs} times by somebody else; last, ${evidence}`,
    ),
  ];
}

function firewallQuarrel({ undone, lastRepair }: FirewallStatus): readonly string[] {
  if (undone === 0 || lastRepair === null) return [];
  const last = describeRepair(lastRepair);
  return [`firewall rules were undone ${undone} times by somebody else; last, ${last}`];
}
