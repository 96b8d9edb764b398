/** What examine() goes by, and how it words what it finds. No I/O. */

import type { Address, InterfaceAddress } from "../../ipam/addresses/ip.ts";
import type { Link } from "../netlink/link/link.ts";
import type { NetnsHandle } from "../netlink/netns.ts";
import type { AttachmentSpec, ContainerRoute } from "./spec.ts";

/** An attachment as it should be: by its specification, and by what attach() returned. */
export interface Expected extends Pick<AttachmentSpec, "bridge" | "port"> {
  readonly netns: NetnsHandle;
  readonly container: ExpectedContainer;
  /** Names of the host's ends that count; empty when that is not known. */
  readonly portNames: readonly string[];
  /** Of the pair; 0 when any will do. */
  readonly mtuBytes: number;
}

export interface ExpectedContainer {
  readonly name: string;
  /** Of the container's end; 0 when any will do. */
  readonly mtuBytes: number;
  readonly mac: string | undefined;
  readonly addresses: readonly ExpectedAddress[];
  readonly routes: readonly ContainerRoute[];
}

export interface ExpectedAddress {
  readonly address: InterfaceAddress;
  readonly gateway: Address | null;
}

export function mtuDifference(name: string, link: Link, wantedBytes: number): readonly string[] {
  return unless(
    wantedBytes === 0 || link.mtuBytes === wantedBytes,
    `${name} has MTU ${link.mtuBytes}, not ${wantedBytes}`,
  );
}

export function unless(holds: boolean, difference: string): readonly string[] {
  return holds ? [] : [difference];
}
