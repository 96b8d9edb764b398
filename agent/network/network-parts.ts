/** Makes the long-lived parts of a joined network and connects them to the agent. Starts nothing. */

import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import { type PassReport, Reconciler } from "../../backends/kernel/reconciler.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import type { Prefix } from "../../ipam/addresses/ip.ts";
import type { LeaseClaimer, Membership } from "../../ipam/leases/claimer.ts";
import type { LeaseState } from "../../ipam/leases/lease-state.ts";
import { OwnLease } from "../../ipam/leases/own-lease.ts";
import { PeerTable } from "../../ipam/leases/peer-table.ts";
import type { LeaseFeed } from "../../ipam/stores/contracts.ts";
import type { Identity } from "../host/identity.ts";
import { type Attachment, leaseAttrsOf, peerSettingsOf } from "./attachment.ts";
import type { ClaimedFirewall } from "./host-firewall.ts";
import type { NetworkSettings } from "./network-settings.ts";
import { RunnerHost } from "./runner-host.ts";
import type { Runtime } from "./runtime.ts";

export interface NetworkParts {
  readonly lease: OwnLease;
  readonly peers: PeerTable;
  readonly reconciler: Reconciler;
  readonly firewall: JointPlans;
  readonly runner: RunnerHost;
}

export interface AssemblyOptions {
  readonly runtime: Pick<Runtime, "clock" | "random" | "logger" | "port" | "faults" | "descriptors">;
  readonly settings: Pick<NetworkSettings, "lease" | "stateDir">;
  readonly hostFirewall: ClaimedFirewall;
  readonly identity: Identity;
  readonly claimer: LeaseClaimer;
  readonly feed: LeaseFeed;
  readonly attachment: Attachment;
  readonly membership: Membership;
  /** Of the network in force and the one before: where peers' subnets may lie. */
  readonly ranges: readonly Prefix[];
  readonly scope: Scope;
  readonly onLease: (state: LeaseState) => void;
  readonly onRenewal: (isSuccess: boolean) => void;
  readonly onPass: (report: PassReport) => void;
  readonly onHostChange: () => void;
  /** The problems of the backend's runner have changed. */
  readonly onRunner: () => void;
  /** Leases another subnet; used only where the administrator allows that. */
  readonly move: (signal: AbortSignal) => Promise<Membership>;
}

export function assemble(options: AssemblyOptions): NetworkParts {
  const { runtime, settings, attachment, scope, hostFirewall, onPass, onHostChange, onRunner } = options;
  const { clock, random, logger, port, faults, descriptors } = runtime;
  const peers = new PeerTable({
    networks: options.ranges,
    ...peerSettingsOf(attachment),
    leaveGraceMs: settings.lease.leaveGraceSeconds * 1000,
    holdDownMs: settings.lease.holdDownSeconds * 1000,
    logger,
  });
  peers.setOwnKey(options.membership.entry.key);
  return {
    lease: ownLease(options),
    peers,
    reconciler: new Reconciler({ port, scope, clock, logger, random, onPass, onHostChange }),
    firewall: hostFirewall.plans,
    runner: new RunnerHost({
      clock,
      random,
      logger,
      faults,
      stateDir: settings.stateDir,
      descriptors,
      onChange: onRunner,
    }),
  };
}

function ownLease(options: AssemblyOptions): OwnLease {
  const { runtime, settings, claimer, feed, attachment, identity, membership } = options;
  const { clock, random, logger } = runtime;
  const { ttlSeconds, renewMarginSeconds, onLost } = settings.lease;
  return new OwnLease(
    {
      claimer,
      feed,
      networks: options.ranges,
      attrs: leaseAttrsOf(attachment, identity.nodeId),
      ttlSeconds,
      renewMarginSeconds,
      clock,
      logger,
      random,
      onState: options.onLease,
      onAttempt: options.onRenewal,
      renumber: onLost === "renumber" ? options.move : null,
    },
    membership,
  );
}
