/** How this host gets its lease: with its own identity, the subnet that it had, or another one when it must renumber. */

import { mapFamilies, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import { NoFreeSubnetError } from "../../ipam/errors.ts";
import { isCopiedIdentity, mayName } from "../../ipam/leases/claim.ts";
import type { ClaimRequest, LeaseClaimer, Membership } from "../../ipam/leases/claimer.ts";
import { parseLeaseValueOrNull } from "../../ipam/leases/lease-codec.ts";
import { acquirePatiently } from "../../ipam/leases/patient-claim.ts";
import { errorFields } from "../../ipam/log.ts";
import type { LeaseFeed, StoreListing } from "../../ipam/stores/contracts.ts";
import { type ChosenInterfaces, macOf, publicAddressesOf } from "../host/choose-interface.ts";
import type { HostSnapshot } from "../host/host-snapshot.ts";
import type { Identity } from "../host/identity.ts";
import { findProgram } from "../host/other-programs.ts";
import { type Attachment, leaseAttrsOf } from "./attachment.ts";
import { ownAddressProblem } from "./network-support.ts";
import type { Runtime } from "./runtime.ts";

export interface EnrolmentOptions {
  readonly runtime: Pick<Runtime, "clock" | "random" | "logger">;
  readonly claimer: LeaseClaimer;
  readonly feed: LeaseFeed;
  readonly identity: Identity;
}

export class Enrolment {
  readonly #options: EnrolmentOptions;

  constructor(options: EnrolmentOptions) {
    this.#options = options;
  }

  /** Replaces an identity that was copied with another host's disk. */
  async settleIdentity(
    chosen: ChosenInterfaces,
    { links }: HostSnapshot,
    listing: StoreListing,
  ): Promise<void> {
    const { identity, runtime } = this.#options;
    const found = {
      nodeId: identity.nodeId,
      recordedMac: identity.interfaceMac,
      hostMacs: new Set(links.flatMap(({ mac }) => mac ?? [])),
      publicAddress: publicAddressesOf(chosen),
    };
    const candidates = listing.entries
      .filter(({ value }) => mayName(value, found))
      .flatMap(({ value }) => parseLeaseValueOrNull(value) ?? []);
    if (isCopiedIdentity(found, candidates)) {
      await identity.renew();
      runtime.logger.warn("identity was copied with another host's disk and is replaced", {
        before: found.nodeId,
        nodeId: identity.nodeId,
      });
    }
    await identity.setInterfaceMac(macOf(chosen));
  }

  /** Another host has our node id: this one takes another at its next start, whichever of the two is the copy. */
  async discardIdentity(): Promise<void> {
    const { identity, runtime } = this.#options;
    try {
      await identity.renew();
    } catch (error) {
      runtime.logger.error("identity cannot be renewed", errorFields(error));
    }
  }

  /**
   * Gets the lease; retries while the store fails and, unless `mayFail`, while the network is full. Throws what a retry does
   * not mend.
   */
  async enter(
    attachment: Attachment,
    listing: StoreListing,
    previous: PerFamily<Prefix> | null,
    signal: AbortSignal,
    mayFail = false,
  ): Promise<Membership> {
    const { runtime, feed } = this.#options;
    const claimer = mayFail ? impatient(this.#options.claimer) : this.#options.claimer;
    const { logger } = runtime;
    const problem = ownAddressProblem(
      attachment.networkConfig,
      mapFamilies(attachment.host.uplinks, ({ address }) => address),
    );
    if (problem !== null) logger.warn("network configuration", { problem });
    const request = { ...this.#claimOf(attachment), previous };
    const membership = await acquirePatiently({ ...runtime, claimer, feed }, request, listing, signal);
    logger.info("joined the network", { lease: membership.entry.key, origin: membership.origin });
    if (membership.origin === "adopted") this.#lookForFlanneld();
    return membership;
  }

  /** Throws what enter would throw for want of a subnet, with an attachment that is not in force yet. Writes nothing. */
  async examine(attachment: Attachment, previous: PerFamily<Prefix>, signal: AbortSignal): Promise<void> {
    const { claimer, feed } = this.#options;
    await claimer.examine({ ...this.#claimOf(attachment), previous }, await feed.list(signal), signal);
  }

  /** Leases another subnet, because another host holds ours and the administrator chose to renumber. */
  async move(attachment: Attachment, signal: AbortSignal): Promise<Membership> {
    const { claimer, feed } = this.#options;
    const request = { ...this.#claimOf(attachment), previous: null, isRenumbering: true };
    return await claimer.acquire(request, await feed.list(signal), signal);
  }

  /** The agent whose lease was adopted may still run, and would take lease, device and routes back each time. */
  #lookForFlanneld(): void {
    const pid = findProgram("flanneld");
    if (pid === null) return;
    const { logger } = this.#options.runtime;
    logger.error("flanneld runs on this host as well; stop it: systemctl disable --now flanneld", { pid });
  }

  #claimOf(attachment: Attachment): Omit<ClaimRequest, "previous"> {
    return {
      config: attachment.networkConfig,
      attrs: leaseAttrsOf(attachment, this.#options.identity.nodeId),
      local: attachment.local,
    };
  }
}

/** Does not wait for a free subnet. */
function impatient(claimer: Pick<LeaseClaimer, "acquire">): Pick<LeaseClaimer, "acquire"> {
  return {
    acquire: async (...request) => {
      try {
        return await claimer.acquire(...request);
      } catch (error) {
        if (!(error instanceof NoFreeSubnetError)) throw error;
        throw new NoFreeSubnetError(error.message, { cause: error, details: error.details });
      }
    },
  };
}
