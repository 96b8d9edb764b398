/** What a call asks for, read once from its configuration: the work of bridge and host-local, or another plugin. No I/O. */

import { portName } from "../../backends/attachment/port-name.ts";
import type { AttachmentSpec, RuleSpec } from "../../backends/attachment/spec.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import { entriesOf, type Family } from "../../ipam/addresses/ip.ts";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";
import type { Attachment } from "../../ipam/containers/attachment.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { Call } from "../protocol/call.ts";
import type { ResultRoute } from "../protocol/result.ts";
import { type AddressConfig, parseAddressConfig, readDataDir } from "./address-config.ts";
import { type BridgeOptions, parseBridgeOptions, readRules } from "./bridge-options.ts";
import { deriveDelegate } from "./delegate.ts";
import { requireOwnDefault, toContainerRoute } from "./routes.ts";
import { wrong } from "./wrong.ts";

/** RFC 791, RFC 8200 §5. */
const LEAST_MTU: Readonly<Record<Family, number>> = { 4: 68, 6: 1280 };

export type Plan = OwnPlan | DelegatedPlan;

/** bridge and host-local, whose work this program does itself. */
export interface OwnPlan {
  readonly kind: "own";
  /** The configuration as the record keeps it. */
  readonly delegate: JsonObject;
  readonly options: BridgeOptions;
  readonly addresses: AddressConfig;
}

/** Other plugins, which have to be run. */
export interface DelegatedPlan {
  readonly kind: "delegated";
  readonly delegate: JsonObject;
  readonly type: string;
  /** True when the plugin keeps its reservations as host-local does. */
  readonly usesHostLocal: boolean;
  readonly dataDir: string;
}

/** For ADD and STATUS, and to reject a network that could not be used. Throws CniError 4 or 7. */
export function planAttachment({ config, args }: Pick<Call, "config" | "args">, env: SubnetEnv): Plan {
  const delegate = deriveDelegate(config, env);
  if (!isOwn(delegate)) return delegated(delegate);
  const inside = [...entriesOf(env.networks)].flatMap(([, prefixes]) => prefixes);
  const plan: OwnPlan = {
    kind: "own",
    delegate,
    options: parseBridgeOptions(delegate, args, inside),
    addresses: parseAddressConfig(delegate, args),
  };
  requireMtu(plan);
  if (plan.options.isDefaultGateway) requireOwnDefault(plan.addresses);
  return plan;
}

/** The kernel would reject an IPv6 address on a smaller device without a reason. */
function requireMtu({ options: { mtuBytes }, addresses: { request } }: OwnPlan): void {
  const leastBytes = Math.max(...request.rangeSets.flat().map(({ subnet }) => LEAST_MTU[subnet.family]));
  if (mtuBytes === 0 || mtuBytes >= leastBytes) return;
  throw wrong("mtu", mtuBytes, `give ${leastBytes} or more, which its addresses need`);
}

/** For CHECK: null for another plugin's attachment. Throws CniError 4 or 7. */
export function planExamination(delegate: JsonObject, args: string): BridgeOptions | null {
  return isOwn(delegate) ? parseBridgeOptions(delegate, args) : null;
}

/** What DEL and GC need to know, of a record that may be damaged. */
export interface RemovalPlan {
  readonly delegate: JsonObject;
  readonly isOwn: boolean;
  readonly type: string;
  readonly dataDir: string;
  readonly rules: RuleSpec;
}

export function planRemoval(delegate: JsonObject): RemovalPlan {
  return {
    delegate,
    isOwn: isOwn(delegate),
    type: typeOf(delegate),
    dataDir: readDataDir(delegate),
    rules: readRules(delegate),
  };
}

/** The attachment of a plan with the addresses and routes that it was given. */
export function specFor(
  { options }: OwnPlan,
  network: string,
  attachment: Attachment,
  netns: NetnsHandle,
  addresses: readonly Allocation[],
  routes: readonly ResultRoute[],
): AttachmentSpec {
  const { mtuBytes, bridge, port, rules, mac } = options;
  const name = attachment.interfaceName;
  return {
    network,
    mtuBytes,
    bridge,
    port: { ...port, name: portName(network, attachment) },
    container: { netns, name, mac, addresses, routes: routes.map(toContainerRoute) },
    rules,
  };
}

/** The type of the plugin that a delegate's configuration names. */
export function typeOf(delegate: JsonObject): string {
  return typeof delegate.type === "string" ? delegate.type : "bridge";
}

function isOwn(delegate: JsonObject): boolean {
  return delegate.type === "bridge" && isHostLocal(delegate);
}

function isHostLocal({ ipam }: JsonObject): boolean {
  return isJsonObject(ipam) && ipam.type === "host-local";
}

function delegated(delegate: JsonObject): DelegatedPlan {
  return {
    kind: "delegated",
    delegate,
    type: typeOf(delegate),
    usesHostLocal: isHostLocal(delegate),
    dataDir: readDataDir(delegate),
  };
}
