/** Bridges and their ports (linux/if_link.h IFLA_BR_*, IFLA_BRPORT_*). Messages only, no I/O. */

import type { AttributeReader } from "../attribute.ts";
import type { MessageWriter } from "../message.ts";

/** linux/if_link.h */
const IFLA_BR_FORWARD_DELAY = 1;
const IFLA_BR_AGEING_TIME = 4;
const IFLA_BR_STP_STATE = 5;
const IFLA_BR_VLAN_FILTERING = 7;
const IFLA_BR_MCAST_SNOOPING = 23;
const IFLA_BRPORT_STATE = 1;
const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_LEARNING = 8;
const IFLA_BRPORT_UNICAST_FLOOD = 9;
const IFLA_BRPORT_MCAST_FLOOD = 27;
const IFLA_BRPORT_BCAST_FLOOD = 30;
const IFLA_BRPORT_NEIGH_SUPPRESS = 32;
const IFLA_BRPORT_ISOLATED = 33;

export interface BridgeSpec {
  readonly kind: "bridge";
  readonly vlanFiltering?: boolean;
  readonly multicastSnooping?: boolean;
  readonly stp?: boolean;
}

/** A bridge as the kernel shows it. */
export interface Bridge {
  readonly vlanFiltering: boolean;
  readonly multicastSnooping: boolean;
  readonly stp: boolean;
  /** In hundredths of a second (USER_HZ). */
  readonly forwardDelayCentiseconds: number;
  readonly ageingCentiseconds: number;
}

/** What can be set on a bridge's port. */
export interface BridgePortSpec {
  /** Frames may leave by the port they came in by. */
  readonly hairpin?: boolean;
  /** Isolated ports cannot talk to each other. */
  readonly isolated?: boolean;
  readonly learning?: boolean;
  readonly unicastFlood?: boolean;
  readonly multicastFlood?: boolean;
  readonly broadcastFlood?: boolean;
  readonly neighbourSuppression?: boolean;
}

/** A bridge's port as the kernel shows it. */
export interface BridgePort extends Required<BridgePortSpec> {
  /** BR_STATE_*: 0 disabled, 3 forwarding. */
  readonly state: number;
}

type PortFlag = keyof BridgePortSpec;
const PORT_FLAGS: readonly (readonly [PortFlag, number])[] = [
  ["hairpin", IFLA_BRPORT_MODE],
  ["learning", IFLA_BRPORT_LEARNING],
  ["unicastFlood", IFLA_BRPORT_UNICAST_FLOOD],
  ["multicastFlood", IFLA_BRPORT_MCAST_FLOOD],
  ["broadcastFlood", IFLA_BRPORT_BCAST_FLOOD],
  ["neighbourSuppression", IFLA_BRPORT_NEIGH_SUPPRESS],
  ["isolated", IFLA_BRPORT_ISOLATED],
];

/** `type bridge [vlan_filtering 0|1] [mcast_snooping 0|1] [stp_state 0|1]` */
export function encodeBridge(message: MessageWriter, spec: BridgeSpec): void {
  if (spec.stp !== undefined) message.attrU32(IFLA_BR_STP_STATE, spec.stp ? 1 : 0);
  if (spec.vlanFiltering !== undefined) message.attrBool(IFLA_BR_VLAN_FILTERING, spec.vlanFiltering);
  if (spec.multicastSnooping !== undefined) message.attrBool(IFLA_BR_MCAST_SNOOPING, spec.multicastSnooping);
}

/** Decodes IFLA_INFO_DATA of a bridge. Throws CodecError. */
export function decodeBridge(attributes: AttributeReader): Bridge {
  const bridge: { -readonly [K in keyof Bridge]: Bridge[K] } = {
    vlanFiltering: false,
    multicastSnooping: false,
    stp: false,
    forwardDelayCentiseconds: 0,
    ageingCentiseconds: 0,
  };
  while (attributes.next()) {
    if (attributes.type === IFLA_BR_VLAN_FILTERING) bridge.vlanFiltering = attributes.bool();
    else if (attributes.type === IFLA_BR_MCAST_SNOOPING) bridge.multicastSnooping = attributes.bool();
    else if (attributes.type === IFLA_BR_STP_STATE) bridge.stp = attributes.u32() !== 0;
    else if (attributes.type === IFLA_BR_FORWARD_DELAY) bridge.forwardDelayCentiseconds = attributes.u32();
    else if (attributes.type === IFLA_BR_AGEING_TIME) bridge.ageingCentiseconds = attributes.u32();
  }
  return bridge;
}

/** `bridge link set dev PORT [hairpin on|off] [isolated on|off] …` */
export function encodeBridgePort(message: MessageWriter, spec: BridgePortSpec): void {
  for (const [name, type] of PORT_FLAGS) {
    const value = spec[name];
    if (value !== undefined) message.attrBool(type, value);
  }
}

/** Decodes IFLA_INFO_SLAVE_DATA of a bridge's port. Throws CodecError. */
export function decodeBridgePort(attributes: AttributeReader): BridgePort {
  const port: { -readonly [K in keyof BridgePort]: BridgePort[K] } = {
    state: 0,
    hairpin: false,
    isolated: false,
    learning: false,
    unicastFlood: false,
    multicastFlood: false,
    broadcastFlood: false,
    neighbourSuppression: false,
  };
  while (attributes.next()) {
    if (attributes.type === IFLA_BRPORT_STATE) port.state = attributes.u8();
    const flag = PORT_FLAGS.find(([, type]) => type === attributes.type);
    if (flag !== undefined) port[flag[0]] = attributes.bool();
  }
  return port;
}
