/** The daemon's targets as JSON, for programs that probe on their own: written and read here. */

import type { TunnelKind } from "../../backends/probe/tunnel-packet.ts";
import { Address, compactPerFamily, type Family, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { CodecError, TulleError } from "../../ipam/errors.ts";
import { isJsonObject, type JsonValue } from "../../ipam/json.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { History } from "./case.ts";
import type { ProbeTarget } from "./probe.ts";

export interface TargetList {
  readonly targets: readonly ProbeTarget[];
  /** The devices that packets to peers' subnets leave by. */
  readonly devices: readonly string[];
  /** The interfaces that carry the tunnel. */
  readonly interfaces: PerFamily<string>;
  /** This host's addresses that tunnel packets come from; none from a daemon that does not tell. */
  readonly sources: PerFamily<Address>;
  /** This host's subnets; none from a daemon that does not tell. */
  readonly subnets: PerFamily<Prefix>;
  /** What former probes of the daemon showed, by the targets' ids; none from a daemon that does not tell. */
  readonly histories: Readonly<Record<string, History>>;
  /** Why peers send nothing to this host; null when they do, and from a daemon that does not tell. */
  readonly membershipProblem: string | null;
  /** Names of hosts by their leases, where they are known. */
  readonly hostNames: Readonly<Record<LeaseKey, string>>;
}

const PATHS = ["tunnel", "direct", "external", "fallback"] as const;

/**
 * Addresses format themselves (toJSON). Throws CodecError for what a daemon of another version may answer,
 * TULLE_CONTROL from one that has not joined its network.
 */
export function readTargets(answer: unknown): TargetList {
  if (answer === null) {
    throw new TulleError(
      "TULLE_CONTROL",
      'the daemon has not joined its network yet; "tulle status" says why',
    );
  }
  if (!isJsonObject(answer) || !Array.isArray(answer.targets) || !Array.isArray(answer.devices)) {
    throw new CodecError("the daemon's answer is not a list of peers: its version may differ; restart it");
  }
  const hostNames = isJsonObject(answer.hostNames) ? answer.hostNames : {};
  return {
    targets: answer.targets.map(readTarget),
    devices: answer.devices.map(String),
    interfaces: readPerFamily(answer.interfaces, (name) => name),
    sources: readPerFamily(answer.sources, (address) => Address.parse(address)),
    subnets: readPerFamily(answer.subnets, (subnet) => Prefix.parse(subnet)),
    histories: readHistories(answer.histories),
    membershipProblem: typeof answer.membershipProblem === "string" ? answer.membershipProblem : null,
    hostNames: Object.fromEntries(
      Object.entries(hostNames).flatMap(([lease, name]) => (typeof name === "string" ? [[lease, name]] : [])),
    ),
  };
}

function readPerFamily<T>(value: JsonValue | undefined, read: (text: string) => T): PerFamily<T> {
  const given = isJsonObject(value) ? value : {};
  return compactPerFamily((family) => {
    const text = given[family];
    return typeof text === "string" ? read(text) : undefined;
  });
}

function readHistories(value: JsonValue | undefined): TargetList["histories"] {
  const given = Object.entries(isJsonObject(value) ? value : {});
  return Object.fromEntries(
    given.flatMap(([id, history]) => {
      if (!isJsonObject(history)) return [];
      const { inner, tcp, outer } = history;
      return [[id, { inner: inner === true, tcp: tcp === true, outer: outer === true }]];
    }),
  );
}

function readTarget(value: JsonValue): ProbeTarget {
  if (!isJsonObject(value)) throw new CodecError("a peer in the daemon's answer is not an object");
  const text = (key: string): string => String(value[key]);
  const family: Family = value.family === 6 ? 6 : 4;
  return {
    id: text("id"),
    peer: text("peer") as LeaseKey,
    family,
    path: PATHS.find((path) => path === value.path) ?? "tunnel",
    subnet: Prefix.parse(text("subnet")),
    inner: Address.parse(text("inner")),
    isInnerCertain: value.isInnerCertain === true,
    sendsProbes: value.sendsProbes === true,
    outer: Address.parse(text("outer")),
    mtuBytes: Number(value.mtuBytes),
    tunnel: typeof value.tunnel === "string" ? value.tunnel : null,
    tunnelKind: readKind(value.tunnelKind),
  };
}

const FORMATS = ["vxlan", "ip", "opaque"] as const;

function readKind(value: JsonValue | undefined): TunnelKind | null {
  if (!isJsonObject(value)) return null;
  const format = FORMATS.find((one) => one === value.format) ?? "opaque";
  return { port: typeof value.port === "number" ? value.port : null, format };
}
