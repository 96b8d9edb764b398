/** Calls of the netavark plugin, as podman and netavark make them, on a host of CNI tests. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import type { JsonObject } from "../../ipam/json.ts";
import type { AnyJson, CniContainer, CniHost } from "./cni-host.ts";
import { PROGRAMS } from "./hosts.ts";

/** The plugin as a Node program, which is built beside the executable. */
export const NETAVARK_NODE_FORM = [process.execPath, join(PROGRAMS, "../lib/tulle-netavark.cjs")];

export interface NetavarkCall {
  readonly container?: CniContainer;
  /** Merged into the network's configuration. */
  readonly network?: JsonObject;
  /** Merged into the container's options on the network. */
  readonly options?: JsonObject;
  readonly ports?: readonly JsonObject[];
  /** Replaces the whole input. */
  readonly stdin?: string;
  /** Replaces the verb and the path of the namespace. */
  readonly args?: readonly string[];
  readonly program?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface NetavarkAnswer {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What stdout holds, null when it is empty. */
  readonly json: AnyJson;
}

/** A network as `podman network create` sends it, with this host's folders. */
export function networkOf(host: CniHost): JsonObject {
  return {
    name: "overlay",
    id: "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
    driver: "tulle-netavark",
    created: "0001-01-01T00:00:00Z",
    ipv6_enabled: false,
    internal: false,
    dns_enabled: true,
    options: {
      subnet_file: host.subnetFile,
      state_dir: host.stateDir,
      address_dir: join(host.dir, "ipam"),
    },
  };
}

/** Runs the plugin to its end. */
export function callNetavark(host: CniHost, verb: string, call: NetavarkCall = {}): NetavarkAnswer {
  const { container, network = {}, options = {}, ports = null } = call;
  const config = { ...networkOf(host), ...network };
  const request = {
    container_id: container?.id ?? "",
    container_name: "box",
    port_mappings: ports,
    network: config,
    network_options: {
      aliases: null,
      interface_name: "eth0",
      static_ips: null,
      static_mac: null,
      ...options,
    },
  };
  const input = call.stdin ?? JSON.stringify(verb === "create" ? config : request);
  const program = call.program ?? [join(PROGRAMS, "tulle-netavark")];
  const args = call.args ?? [verb, ...(container === undefined ? [] : [container.netns.path])];
  const { status, stdout, stderr } = spawnSync("nsenter", [`--net=${host.netns.path}`, ...program, ...args], {
    input,
    env: { PATH: process.env.PATH, ...call.environment },
    encoding: "utf8",
  });
  return { exitCode: status, stdout, stderr, json: stdout === "" ? null : JSON.parse(stdout) };
}

/** Devices, reservations, records and tables of attachments that a host still has. */
export function leftoversOn(host: CniHost): readonly string[] {
  return [
    ...host.leftovers().filter((name) => name !== "lock"),
    ...host.netns.exec("nft", ["list", "tables"]).split("\n").filter(Boolean),
  ];
}
