/** The options of `docker network create -o`: names, values and what is wrong with them. Pure. */

import { ConfigError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { isNetworkId, type NetworkId } from "./network-id.ts";

/** Marks a network that tulled makes, in `-o` and in `--ipam-opt`: the id of the named network. */
export const NETWORK_KEY = "tulle.network";
/** `--ipam-opt` of addresses for another network driver, such as macvlan: a name for the LAN. */
export const LAN_KEY = "tulle.lan";

export interface DriverOptions {
  readonly mtuBytes: number | null;
  readonly vni: number | null;
  readonly hasBroadcast: boolean;
  /** Of a network that tulled made here. */
  readonly network: NetworkId | null;
  /** Options of other programs, which have a dot in their names. */
  readonly others: Readonly<Record<string, string>>;
}

/** An Ethernet device takes up to 65535; IPv4 needs 576 (RFC 791), IPv6 1280 (RFC 8200), which the kernel checks. */
const MTU = { minimum: 576, maximum: 65_535 } as const;
/** VXLAN has 24 bits (RFC 7348); below 4096 are the VNIs of the networks of leases. */
const VNI = { minimum: 4096, maximum: 0xffffff } as const;

const OWN_NAMES = ["mtu", "vni", "broadcast"] as const;

/** Throws ConfigError for a wrong value, and for a name without a dot that is not ours. */
export function parseDriverOptions(options: Readonly<Record<string, string>>): DriverOptions {
  const { mtu, vni, broadcast, [NETWORK_KEY]: network, ...rest } = options;
  const { "com.docker.network.driver.mtu": dockerMtu, ...others } = rest;
  const unknown = Object.keys(others).find((name) => !name.includes("."));
  if (unknown !== undefined)
    throw new ConfigError(
      `-o ${escapeText(unknown, 40)} is not an option of the driver tulle: it has ${OWN_NAMES.join(", ")}`,
    );
  return {
    mtuBytes: number("mtu", mtu ?? dockerMtu, MTU),
    vni: number("vni", vni, VNI),
    hasBroadcast: toggle("broadcast", broadcast),
    network: network === undefined ? null : parseNetworkKey(network),
    others,
  };
}

/** The id in the value of NETWORK_KEY. Throws ConfigError. */
export function parseNetworkKey(text: string): NetworkId {
  if (isNetworkId(text)) return text;
  throw wrong(NETWORK_KEY, text, 'leave it out; tulled sets it on networks that "tulle network ls" shows');
}

function number(
  name: string,
  text: string | undefined,
  { minimum, maximum }: { readonly minimum: number; readonly maximum: number },
): number | null {
  if (text === undefined || text === "") return null;
  const value = /^\d{1,8}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= minimum && value <= maximum) return value;
  throw wrong(name, text, `give a whole number from ${minimum} to ${maximum}`);
}

const WORDS: ReadonlyMap<string, boolean> = new Map([
  ...["on", "true", "1", "yes", ""].map((word) => [word, true] as const),
  ...["off", "false", "0", "no"].map((word) => [word, false] as const),
]);

function toggle(name: string, text: string | undefined): boolean {
  if (text === undefined) return false;
  const value = WORDS.get(text.toLowerCase());
  if (value === undefined) throw wrong(name, text, "give on or off");
  return value;
}

function wrong(name: string, text: string, remedy: string): ConfigError {
  return new ConfigError(`-o ${name} is "${escapeText(text, 60)}": ${remedy}`);
}
