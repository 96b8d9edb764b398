/**
 * Everything that is wrong with this host's membership, from the state of its parts. Pure.
 *
 * Readiness is the absence of blocking problems: status, /readyz, metrics, sd_notify and the log all read this list.
 */

import type { FirewallStatus } from "../../backends/firewall/guard.ts";
import { describeRepair } from "../../backends/firewall/repair-history.ts";
import type { ReconcilerStatus } from "../../backends/kernel/reconciler.ts";
import type { LeaseSnapshot } from "../../ipam/leases/lease.ts";
import type { LeaseState } from "../../ipam/leases/lease-state.ts";

/** One sentence for a person. */
export interface Problem {
  readonly text: string;
  /** While it lasts, this host is not a working member of its network. */
  readonly isBlocking: boolean;
}

/** The parts that decide about readiness; cheap to collect. */
export interface MemberState {
  readonly leaseKey: string;
  readonly lease: LeaseState;
  /** Why every host rejects our lease by the common rules; null when they accept it. */
  readonly rejection: string | null;
  /** Why our own subnets cut this host off from what it reaches without the network. */
  readonly obstacle: string | null;
  /** Why the interface cannot carry the tunnel now. */
  readonly interface: string | null;
  /** Why the newest network configuration is not in force. */
  readonly config: string | null;
  readonly subnetFile: Problem | null;
  /** What is wrong with what the backends run beside the kernel's objects. */
  readonly runner: readonly Problem[];
  readonly kernel: Pick<ReconcilerStatus, "trouble" | "failures" | "conflicts">;
  /** The tunnel devices. */
  readonly devices: readonly string[];
  /** A pass with the tunnel device in place has ended since the start. */
  readonly isProgrammed: boolean;
  /** Why this daemon writes no firewall rules although it should. */
  readonly firewallLock: string | null;
}

/** Everything else that a person should know; collected for a report only. */
export interface MemberDetails {
  readonly snapshot: Pick<LeaseSnapshot, "held" | "rejected">;
  readonly contended: ReconcilerStatus["contended"];
  readonly firewall: FirewallStatus;
  /** What is wrong beside the network on this host, one sentence each. */
  readonly host: readonly string[];
  /** Internal errors, one sentence each. */
  readonly faults: readonly string[];
  /** What diverts packets on their way to a peer, one sentence each. */
  readonly paths: readonly string[];
  /** What is known to be wrong by name, one sentence each: with paths, the store and the kernel's limits. */
  readonly causes: readonly string[];
  /** What is wrong with the ways to peers that have a fall-back, one sentence each. */
  readonly fallback: readonly string[];
  /** Why paths are not probed although they should be. */
  readonly probing: string | null;
  /** Why names of hosts are missing. */
  readonly hostRecords: string | null;
}

/** The problems that take part in readiness, the most severe first. */
export function memberProblems(state: MemberState): readonly Problem[] {
  return [
    ...leaseProblems(state),
    ...blocking(state.interface),
    ...kernelProblems(state),
    ...state.runner,
    ...(state.subnetFile === null ? [] : [state.subnetFile]),
    ...advisory(state.obstacle),
    ...advisory(state.config),
    ...advisory(state.firewallLock),
  ];
}

/**
 * Why peers send nothing to this host, whatever the path; null when they do. While the store does not answer, they keep the
 * host although its lease may have ended.
 */
export function membershipProblem({
  lease,
  leaseKey,
  rejection,
}: Pick<MemberState, "lease" | "leaseKey" | "rejection">): string | null {
  const sentence = (reason: string): string => `peers send nothing to this host: ${reason}`;
  if (lease.state === "conflict") {
    const isKeyTaken = lease.rival === null;
    return sentence(
      isKeyTaken
        ? `another host holds its lease ${leaseKey}`
        : `its lease ${leaseKey} gave way to an older one`,
    );
  }
  if (lease.state === "lost")
    return lease.isAbsent ? sentence(`its lease ${leaseKey} is not in the store`) : null;
  return rejection === null ? null : sentence(`they reject its lease ${leaseKey}`);
}

/** The problems that are shown only. */
export function detailProblems(details: MemberDetails): readonly Problem[] {
  const { snapshot, firewall, contended } = details;
  return [
    ...someOf(details.causes, "more causes of this kind"),
    ...someOf(details.host, "more of this kind"),
    ...details.faults.flatMap(advisory),
    ...details.paths.flatMap(advisory),
    ...someOf(details.fallback, "more peers are concerned by the fall-back"),
    ...advisory(details.probing),
    ...advisory(details.hostRecords),
    ...(snapshot.held.size === 0
      ? []
      : advisory(`${snapshot.held.size} vanished peers are kept for now: the store may be at fault`)),
    ...rejections(snapshot.rejected),
    ...advisory(firewall.note === null ? null : `firewall: ${firewall.note}`),
    ...advisory(firewall.lastError === null ? null : `firewall: ${firewall.lastError}`),
    ...advisory(firewallContention(firewall)),
    ...contended.flatMap(({ key, repairs, evidence }) =>
      advisory(`${key} was undone ${repairs} times by another program; last, ${evidence}`),
    ),
  ];
}

/** The first ones, and how many more there are. */
function someOf(texts: readonly string[], more: string): readonly Problem[] {
  const listed = texts.slice(0, MOST_LISTED).flatMap(advisory);
  return texts.length <= MOST_LISTED
    ? listed
    : [...listed, ...advisory(`${texts.length - MOST_LISTED} ${more}`)];
}

/** True when nothing keeps this host from being a working member. */
export function isReady(problems: readonly Problem[]): boolean {
  return !problems.some(({ isBlocking }) => isBlocking);
}

/** Whether a pass left the tunnel device in place; what the kernel rejects for one peer does not count. */
export function isDevicePresent(
  { trouble, failures, conflicts }: MemberState["kernel"],
  devices: readonly string[],
): boolean {
  return trouble === null && ![...failures, ...conflicts].some(({ key }) => isOfDevice(key, devices));
}

function leaseProblems({ lease, leaseKey, rejection }: MemberState): readonly Problem[] {
  switch (lease.state) {
    case "lost":
    case "conflict":
      return blocking(`our lease ${leaseKey} is lost: ${lease.reason}`);
    case "held": {
      const { unpublished } = lease;
      return [
        ...blocking(
          unpublished === null
            ? null
            : `the store does not hold this host's newest address and settings, so peers cannot use them (lease ${leaseKey}): ${unpublished}`,
        ),
        ...blocking(rejection === null ? null : `peers reject our lease: ${rejection}`),
      ];
    }
  }
}

function kernelProblems({ kernel, devices, isProgrammed }: MemberState): readonly Problem[] {
  const { trouble, failures, conflicts } = kernel;
  const problem = (key: string, text: string): Problem => ({ text, isBlocking: isOfDevice(key, devices) });
  const known = [
    ...conflicts.map(({ key, reason }) => problem(key, `${key}: ${reason}`)),
    ...(trouble === null
      ? []
      : [{ text: `the kernel's state cannot be read or changed: ${trouble}`, isBlocking: !isProgrammed }]),
    ...failures.map(({ key, message, others }) =>
      problem(key, others === 0 ? message : `${message} (and ${others} more like it)`),
    ),
  ];
  if (isProgrammed || known.some(({ isBlocking }) => isBlocking)) return known;
  return [...blocking("the tunnel device is not programmed yet"), ...known];
}

/** Whether a key is that of a tunnel device or of its address: without these no packet flows. */
function isOfDevice(key: string, devices: readonly string[]): boolean {
  const [kind, device = ""] = key.split(" ");
  return (kind === "link" || kind === "address") && devices.includes(device);
}

/** More of a kind than these are counted only. */
const MOST_LISTED = 20;

function rejections(rejected: LeaseSnapshot["rejected"]): readonly Problem[] {
  const reasons = [...rejected.values()].map(({ reason }) => reason);
  return someOf(reasons, 'more leases are rejected; "tulle lease check" lists them');
}

function firewallContention({ undone, lastRepair }: FirewallStatus): string | null {
  if (undone === 0 || lastRepair === null) return null;
  return `firewall rules were undone ${undone} times by another program; last, ${describeRepair(lastRepair)}`;
}

function blocking(text: string | null): readonly Problem[] {
  return text === null ? [] : [{ text, isBlocking: true }];
}

function advisory(text: string | null): readonly Problem[] {
  return text === null ? [] : [{ text, isBlocking: false }];
}
