/**
 * Moves a joined network to another interface, other addresses or another network configuration, one move at a time.
 */

import type { HostFacts } from "../../backends/backend.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { Family, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import type { InterfaceError } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";
import { Turns } from "../../ipam/turns.ts";
import {
  type ChosenInterfaces,
  interfaceNames,
  macOf,
  publicAddressesOf,
  reasonsOf,
} from "../host/choose-interface.ts";
import { followInterfaces, isAllKept } from "../host/follow-interfaces.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import type { HostSnapshot } from "../host/host-snapshot.ts";
import { InterfaceGrace } from "../host/interface-grace.ts";
import {
  type Attachment,
  type AttachmentParts,
  attach,
  choiceOf,
  chooseFor,
  isSameAttachment,
  isSameLocally,
} from "./attachment.ts";
import { familiesOf } from "./network-support.ts";

export interface ReattachmentOptions {
  readonly parts: AttachmentParts;
  readonly netlink: NetlinkConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly current: () => { readonly attachment: Attachment; readonly subnets: PerFamily<Prefix> };
  /** Called with an attachment that differs from the current one. */
  readonly move: (after: Attachment) => void;
  /** Called with an attachment in which only `local` differs. */
  readonly onLocalChange: (after: Attachment) => void;
  /** Called when the host's own addresses changed: connections from the old ones are dead. */
  readonly onNewAddress: () => void;
}

export class Reattachment {
  readonly #options: ReattachmentOptions;
  readonly #grace: InterfaceGrace;
  readonly #turns = new Turns();

  constructor(options: ReattachmentOptions) {
    this.#options = options;
    this.#grace = new InterfaceGrace(options.clock);
  }

  /** Puts an attachment in force that is made from the current one, without a look at the host. */
  turn(change: (before: Attachment) => Attachment): Promise<void> {
    return this.#turns.run(async () => this.#options.move(change(this.#options.current().attachment)));
  }

  /** Examines the host again. Rejects when no interface can be used. */
  followHost(): Promise<void> {
    return this.#enqueue(null);
  }

  /** Puts another network configuration in force. Rejects when no interface can be used with it. */
  apply(config: NetworkConfig): Promise<void> {
    return this.#enqueue(config);
  }

  /** How this host would be attached with another network configuration. Rejects when it cannot; changes nothing. */
  async examine(config: NetworkConfig): Promise<Attachment> {
    const { after, failure } = await this.#attachment(config, takeHostSnapshot(this.#options.netlink));
    if (failure !== null) throw failure;
    return after;
  }

  #enqueue(config: NetworkConfig | null): Promise<void> {
    return this.#turns.run(() => this.#reattach(config));
  }

  async #reattach(next: NetworkConfig | null): Promise<void> {
    const { netlink, current } = this.#options;
    const { attachment: before } = current();
    const config = next ?? before.networkConfig;
    const { after, failure } = await this.#attachment(config, takeHostSnapshot(netlink));
    if (failure !== null && next !== null) throw failure;
    this.#put(before, after);
    await this.#options.parts.identity.setInterfaceMac(macOf(after.chosen));
    if (failure !== null) throw failure;
  }

  #put(before: Attachment, after: Attachment): void {
    const { logger, move, onLocalChange, onNewAddress } = this.#options;
    const { chosen } = after;
    if (isSameAttachment(before, after)) {
      if (!isSameLocally(before, after)) onLocalChange(after);
      return;
    }
    logger.info("host or network options changed; following", {
      interface: interfaceNames(chosen),
      reason: reasonsOf(chosen),
      addresses: Object.values(publicAddressesOf(chosen)),
      mtuBytes: after.backend.mtuBytes,
    });
    if (!isSameAddress(before.host, after.host)) onNewAddress();
    move(after);
  }

  /** With the reason why a family stays where it is; null when all follow. Rejects when none can. */
  async #attachment(
    config: NetworkConfig,
    snapshot: HostSnapshot,
  ): Promise<{ readonly after: Attachment; readonly failure: InterfaceError | null }> {
    const { parts, current } = this.#options;
    const { attachment: before, subnets } = current();
    const prior = { present: before.chosen, subnets: Object.values(subnets), leaseAddresses: [] };
    const choose = (families: readonly Family[]): ChosenInterfaces =>
      chooseFor(parts, config, snapshot, prior, families);
    const choice = followInterfaces(before.chosen, familiesOf(config), choose);
    const followed = this.#grace.hold(before.chosen, choice, snapshot);
    const { chosen, failure } = followed;
    if (failure !== null && isAllKept(before.chosen, followed)) throw failure;
    const after = await attach(parts, choiceOf(before, config), chosen, snapshot, before);
    return { after, failure };
  }
}

function isSameAddress(before: HostFacts, after: HostFacts): boolean {
  const text = ({ uplinks }: HostFacts): string =>
    Object.values(uplinks)
      .map(({ address }) => address)
      .join(" ");
  return text(before) === text(after);
}
