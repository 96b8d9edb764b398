/** How this host gets its lease: as itself, with the subnet it had, or with another one when it must move. */

import type { Clock } from "../ipam/clock.ts";
import { type JoinOptions, join, joinPatiently, type Membership } from "../ipam/join.ts";
import type { Logger } from "../ipam/log.ts";
import type { StoreListing, SubnetStore } from "../ipam/store.ts";
import { type Attachment, leaseAttrsOf } from "./attachment.ts";
import type { ChosenInterface } from "./choose-interface.ts";
import type { AgentConfig } from "./config.ts";
import type { Identity } from "./identity.ts";
import { readPreviousSubnets } from "./subnet-file.ts";

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

  /**
   * Makes sure that the identity is this host's own: on a copy of another host's disk the node id is that of a
   * live lease, but neither the hardware nor the address is.
   */
  async settleIdentity(chosen: ChosenInterface, { entries }: StoreListing): Promise<void> {
    const { identity, logger } = this.#options;
    const { mac } = chosen.link;
    const isOtherHardware = identity.interfaceMac !== null && identity.interfaceMac !== mac;
    const other = entries.find(({ value }) => value.includes(identity.nodeId));
    const addresses = Object.values(chosen.publicAddresses).map((address) => `"${address}"`);
    const isOtherAddress = !addresses.some((address) => other?.value.includes(address));
    if (isOtherHardware && other !== undefined && isOtherAddress) {
      logger.warn(
        "this host's identity is that of another host, from whose disk it was copied; taking a new one",
        { lease: other.key },
      );
      await identity.renew();
    }
    await identity.setInterfaceMac(mac);
  }

  /** Gets the lease, however long the network is full or the store fails. Throws what waiting does not mend. */
  async enter(attachment: Attachment, listing: StoreListing, signal: AbortSignal): Promise<Membership> {
    const { config, logger, random } = this.#options;
    const previous = await readPreviousSubnets(config.files.subnetFile, attachment.networkConfig, logger);
    const options = { ...this.#joinOptions(attachment), previous, random };
    const membership = await joinPatiently(options, listing, signal);
    logger.info("joined the network", { lease: membership.entry.key, origin: membership.origin });
    return membership;
  }

  /** Another subnet, because another host owns ours and the administrator chose to move then. */
  async move(attachment: Attachment, signal: AbortSignal): Promise<Membership> {
    const options = { ...this.#joinOptions(attachment), previous: null, isRenumbering: true };
    return await join(options, await this.#options.store.list(signal), signal);
  }

  #joinOptions(attachment: Attachment): Omit<JoinOptions, "previous"> {
    const { config, store, identity, clock, logger } = this.#options;
    return {
      store,
      config: attachment.networkConfig,
      attrs: leaseAttrsOf(attachment, identity.nodeId),
      ttlSeconds: config.lease.ttlSeconds,
      clock,
      logger,
    };
  }
}
