/** A host with some interfaces, and the choice among them. */

import type { InterfaceSettings } from "../../agent/config/config.ts";
import {
  type ChoiceRequest,
  type ChosenInterfaces,
  chooseInterfaces,
} from "../../agent/host/choose-interface.ts";
import type { HostAddress, HostLink, HostSnapshot } from "../../agent/host/host-snapshot.ts";
import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";

export const at = (text: string) => Address.parse(text);
export const PERMANENT = 0x80;
export const DEPRECATED = 0x20;
export const SECONDARY = 0x01;
export const none: InterfaceSettings = { interfaces: [], patterns: [], canReach: null, publicAddress: {} };
export const network = Prefix.parse("10.2.0.0/16");
export const plan = {
  4: { network, subnetLength: 24, subnetMin: at("10.2.1.0"), subnetMax: at("10.2.255.0") },
};

export const link = (index: number, name: string, changes: Partial<HostLink> = {}): HostLink => ({
  index,
  name,
  type: "",
  mac: null,
  mtuBytes: 1500,
  flags: 1,
  masterIndex: null,
  ...changes,
});

/** `text` is an address, with a prefix length unless that is 24 or 64. */
export const on = (interfaceIndex: number, text: string, scope = 0, flags = PERMANENT): HostAddress => {
  const [address = "", length] = text.split("/");
  return {
    interfaceIndex,
    address: at(address),
    length: Number(length ?? (at(address).family === 4 ? 24 : 64)),
    scope,
    flags,
  };
};

export const via = (interfaceIndex: number, source: string | null = null) => ({
  interfaceIndex,
  source: source === null ? null : at(source),
});

/** lo, eth0 (192.168.1.2, default route), eth1 (10.0.0.2, fd00::2), down0 (no address), flat0 (MTU 0). */
export function host(changes: Partial<HostSnapshot> = {}): HostSnapshot {
  const eth1Net = Prefix.parse("10.0.0.0/8");
  return {
    links: [
      link(1, "lo", { flags: 9, mtuBytes: 65_536 }),
      link(2, "eth0"),
      link(3, "eth1"),
      link(4, "down0"),
      link(5, "flat0", { mtuBytes: 0 }),
    ],
    routes: [],
    addresses: [
      on(1, "127.0.0.1", 254),
      on(2, "192.168.1.2"),
      on(3, "169.254.0.9", 253),
      on(3, "10.0.0.2"),
      on(3, "10.0.0.3", 0, PERMANENT | SECONDARY),
      on(3, "fd00::9", 0, PERMANENT | DEPRECATED),
      on(3, "fe80::1", 253),
      on(3, "fd00::2"),
      on(5, "172.16.0.1"),
    ],
    defaultRoutes: { 4: [via(2)] },
    routeTo: (target) =>
      eth1Net.contains(target) ? via(3, "10.0.0.3") : via(target.isLoopback ? 1 : 2, "192.168.1.2"),
    ...changes,
  };
}

/** The host with more devices and addresses. */
export function hostWith(
  links: readonly HostLink[],
  addresses: readonly HostAddress[],
  changes: Partial<HostSnapshot> = {},
): HostSnapshot {
  const before = host();
  return host({
    links: [...before.links, ...links],
    addresses: [...before.addresses, ...addresses],
    ...changes,
  });
}

export const shortOf = (chosen: ChosenInterfaces) => {
  const names = new Set(Object.values(chosen).map(({ link }) => link.name));
  return [...names, ...Object.values(chosen).map(({ address }) => address)].join(" ");
};

export function choose(
  settings: Partial<InterfaceSettings>,
  snapshot = host(),
  store: Address | null = null,
  families: Family[] = [4],
  more: Partial<ChoiceRequest> = {},
) {
  const chosen = chooseInterfaces(snapshot, {
    settings: { ...none, ...settings },
    families,
    store,
    containers: { plan, subnets: [Prefix.parse("10.2.7.0/24")] },
    leaseAddresses: [],
    present: null,
    ...more,
  });
  const [first] = Object.values(chosen);
  if (first === undefined) throw new Error("no interface was chosen");
  return { ...chosen, ...first, short: shortOf(chosen) };
}

export const OWN_DEVICES = [
  link(9, "flannel.1", { type: "vxlan" }),
  link(10, "docker0", { type: "bridge" }),
  link(11, "cni0", { type: "bridge" }),
  link(12, "veth1", { type: "veth", masterIndex: 11 }),
  link(13, "veth2", { type: "veth" }),
  link(14, "flannel-v6.1", { type: "vxlan" }),
];
export const OWN_ADDRESSES = [
  on(9, "10.2.7.0/32"),
  on(10, "10.2.7.1"),
  // Of a subnet that this host had before.
  on(11, "10.2.9.1"),
  on(12, "169.254.7.7/16"),
  on(13, "10.2.7.1/32"),
  on(14, "fd00:2::"),
];
