/** How this host gets its lease: as itself, with the subnet it had, or with another one when it must move. */

import type { PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import { isCopiedIdentity, mayName } from "../../ipam/leases/claim.ts";
import { type JoinOptions, join, joinPatiently, type Membership } from "../../ipam/leases/join.ts";
import type { LeaseAttrs } from "../../ipam/leases/lease.ts";
import { parseLeaseValue } from "../../ipam/leases/lease-codec.ts";
import { errorFields, type Logger } from "../../ipam/log.ts";
import type { StoreEntry, StoreListing, SubnetStore } from "../../ipam/stores/store.ts";
import type { AgentConfig } from "../config/config.ts";
import type { ChosenInterface } from "../host/choose-interface.ts";
import type { HostSnapshot } from "../host/host-snapshot.ts";
import type { Identity } from "../host/identity.ts";
import { findProgram } from "../host/other-programs.ts";
import { type Attachment, leaseAttrsOf } from "./attachment.ts";
import { ownAddressProblem } from "./network-support.ts";

export interface EnrolmentOptions {
  readonly config: AgentConfig;
  readonly store: SubnetStore;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

export class Enrolment {
  readonly #options: EnrolmentOptions;

  constructor(options: EnrolmentOptions) {
    this.#options = options;
  }

  /** Makes sure that the identity is this host's own, and not that of the host whose disk it was copied from. */
  async settleIdentity(
    chosen: ChosenInterface,
    { links }: HostSnapshot,
    listing: StoreListing,
  ): Promise<void> {
    const { identity, logger } = this.#options;
    const found = {
      nodeId: identity.nodeId,
      recordedMac: identity.interfaceMac,
      hostMacs: new Set(links.flatMap(({ mac }) => mac ?? [])),
      publicAddress: chosen.publicAddresses,
    };
    const candidates = listing.entries.filter(({ value }) => mayName(value, found));
    if (isCopiedIdentity(found, candidates.flatMap(attrsOf))) {
      await identity.renew();
      logger.warn("this host's identity came with a copy of another host's disk; it has a new one", {
        before: found.nodeId,
        nodeId: identity.nodeId,
      });
    }
    await identity.setInterfaceMac(chosen.link.mac);
  }

  /** Another host has our node id: whichever of the two is the copy, this one starts as itself the next time. */
  async forsakeIdentity(): Promise<void> {
    const { identity, logger } = this.#options;
    try {
      await identity.renew();
    } catch (error) {
      logger.error("identity cannot be renewed", errorFields(error));
    }
  }

  /** Gets the lease, however long the network is full or the store fails. Throws what waiting does not mend. */
  async enter(
    attachment: Attachment,
    listing: StoreListing,
    previous: PerFamily<Prefix> | null,
    signal: AbortSignal,
  ): Promise<Membership> {
    const { logger, random } = this.#options;
    const problem = ownAddressProblem(attachment.networkConfig, attachment.host.addresses);
    if (problem !== null) logger.warn("network configuration", { problem });
    const options = { ...this.#joinOptions(attachment), previous, random };
    const membership = await joinPatiently(options, listing, signal);
    logger.info("joined the network", { lease: membership.entry.key, origin: membership.origin });
    if (membership.origin === "adopted") this.#lookForFlanneld();
    return membership;
  }

  /** Another subnet, because another host owns ours and the administrator chose to move then. */
  async move(attachment: Attachment, signal: AbortSignal): Promise<Membership> {
    const options = { ...this.#joinOptions(attachment), previous: null, isRenumbering: true };
    return await join(options, await this.#options.store.list(signal), signal);
  }

  /** Whose lease it was may still run, and would take lease, device and routes back at every turn. */
  #lookForFlanneld(): void {
    const pid = findProgram("flanneld");
    if (pid === null) return;
    this.#options.logger.error(
      "flanneld runs on this host as well; stop it: systemctl disable --now flanneld",
      {
        pid,
      },
    );
  }

  #joinOptions(attachment: Attachment): Omit<JoinOptions, "previous"> {
    const { config, store, identity, clock, logger } = this.#options;
    return {
      store,
      config: attachment.networkConfig,
      attrs: leaseAttrsOf(attachment, identity.nodeId),
      avoid: attachment.host.onLinkPrefixes,
      ttlSeconds: config.lease.ttlSeconds,
      clock,
      logger,
    };
  }
}

function attrsOf({ value }: StoreEntry): LeaseAttrs[] {
  try {
    return [parseLeaseValue(value)];
  } catch {
    return []; // the peer table reports it
  }
}
