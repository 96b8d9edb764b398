/**
 * Examines this host the way tulled would start on it: kernel, store, configuration, interface, device, leases.
 *
 * Reads only. A check that cannot be made is a finding too, so that the other checks still run.
 */

import { readFileSync, statSync } from "node:fs";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { backendFor } from "../../backends/registry.ts";
import type { LinkObject } from "../../backends/state/kinds/link.ts";
import { Address, entriesOf, type Family, mapFamilies } from "../../ipam/addresses/ip.ts";
import { systemClock } from "../../ipam/clock.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { CodecError } from "../../ipam/errors.ts";
import { Faults } from "../../ipam/faults.ts";
import { silentLogger } from "../../ipam/log.ts";
import { readDaemonSettings } from "../bug-report/daemon-settings.ts";
import { readIdentity } from "../cleanup/host-state.ts";
import type { AgentConfig } from "../config/config.ts";
import {
  type ChosenInterfaces,
  chooseInterfaces,
  interfaceNames,
  publicAddressesOf,
  reasonsOf,
  warningsOf,
} from "../host/choose-interface.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import { findProgram, holderOfSocket } from "../host/other-programs.ts";
import { resolveHosts } from "../host/resolve-hosts.ts";
import { readAuditingHost } from "../leases/auditing-host.ts";
import { type Audit, auditLeases } from "../leases/lease-audit.ts";
import { fallbackProblem } from "../network/fallback-carrier.ts";
import { ownAddressProblem } from "../network/network-support.ts";
import { hostFactsOf } from "../network/tunnel-host.ts";
import type { Cause } from "../probes/causes.ts";
import { DropWatch } from "../probes/drop-watch.ts";
import type { CommandContext } from "../terminal/command.ts";
import { textWithoutSecrets } from "../terminal/network-view.ts";
import { withNetwork } from "../terminal/open-network.ts";
import { overlapFindings } from "./address-checks.ts";
import { backendFindings } from "./backend-checks.ts";
import { causeFindings } from "./cause-checks.ts";
import { deviceFindings, parseUdpTable } from "./device-checks.ts";
import { examinedSettings } from "./examined-settings.ts";
import { bad, type Finding, failed, ok, skipped } from "./finding.ts";
import { firewallFinding, kernelFindings } from "./kernel-checks.ts";
import { knownNetwork, waysOf } from "./known-network.ts";
import { leaseFindings } from "./lease-checks.ts";
import { type DaemonView, lookAtBridge, lookAtDaemon, lookAtDocker, lookAtNames } from "./look-at-daemon.ts";
import { hasAddressOf, lookAtRoutes } from "./look-at-routes.ts";

/** All findings, in the order in which a person would repair them. `serviceFile`: the unit's EnvironmentFile=. */
export async function examine(given: CommandContext, serviceFile: string): Promise<readonly Finding[]> {
  const { config, finding } = examinedSettings(serviceFile, await readDaemonSettings(serviceFile, given));
  const context = { ...given, config: async () => config };
  const connection = NetlinkConnection.open();
  try {
    const store = await lookAtStore(context, config);
    const network = store.audit?.config ?? null;
    const daemon = await lookAtDaemon(config, context.signal);
    const known = knownNetwork(network, config, daemon.report);
    const host = lookAtInterface(connection, config, { network, ...known }, store.remoteHost);
    return [
      finding,
      ...kernelFindings(connection, known),
      await firewallFinding(config.firewall.engine, network?.enableNftables ?? false),
      clockFinding(context.dateMs()),
      ...store.findings,
      flanneldFinding(),
      host.finding,
      ...rangeFindings(network, host.chosen),
      ...overlapsOf(connection, network),
      ...lookAtBackend(connection, store.audit, host.chosen),
      ...(network === null ? [] : fallbackFindings(network, config)),
      ...(network === null
        ? []
        : waysOf(network, config).flatMap((way) => lookAtDevices(way, host.chosen, daemon))),
      ...(await lookAtLeases(store.audit, host.chosen, config, daemon)),
      ...lookAtRoutes(connection, store.audit, host.chosen, daemon.report),
      ...causeFindings(daemon.report, readLimits(connection)),
      daemon.finding,
      ...(await lookAtDocker(config, context.signal)),
      ...(await lookAtBridge(config)),
      ...(await lookAtNames()),
    ];
  } finally {
    connection.close();
  }
}

interface StoreView {
  readonly audit: Audit | null;
  readonly remoteHost: string | null;
  readonly findings: readonly Finding[];
}

async function lookAtStore(context: CommandContext, { files }: AgentConfig): Promise<StoreView> {
  try {
    return await withNetwork(context, async ({ store, remoteHost, remoteHosts, signal }) => {
      const startMs = performance.now();
      const listing = await store.feed.list(signal);
      const tookMs = Math.round(performance.now() - startMs);
      const addresses = await resolveHosts(remoteHosts);
      const host = await readAuditingHost(files.stateDir, listing, addresses).catch(nullIfDamaged);
      const audit = auditLeases(listing, host);
      return {
        audit,
        remoteHost,
        findings: [
          ok("store", `${store.description} answers in ${tookMs} ms`),
          audit.configProblem === null
            ? ok("config", textWithoutSecrets(listing.config ?? ""))
            : { verdict: "fail", subject: "config", message: audit.configProblem, remedy: null },
        ],
      };
    });
  } catch (error) {
    return { audit: null, remoteHost: null, findings: [failed("store", error)] };
  }
}

/** A damaged identity has a finding of its own. */
function nullIfDamaged(error: unknown): null {
  if (error instanceof CodecError) return null;
  throw error;
}

function lookAtInterface(
  connection: NetlinkConnection,
  config: AgentConfig,
  { network, families }: { readonly network: NetworkConfig | null; readonly families: readonly Family[] },
  remoteHost: string | null,
): { readonly chosen: ChosenInterfaces | null; readonly finding: Finding } {
  try {
    const chosen = chooseInterfaces(takeHostSnapshot(connection), {
      settings: config.interface,
      families,
      store: remoteHost === null ? null : Address.parseOrNull(remoteHost),
      containers: { plan: network?.families ?? {}, subnets: [] },
      leaseAddresses: [],
      present: null,
    });
    const addresses = Object.values(publicAddressesOf(chosen)).join(", ");
    const message = `${interfaceNames(chosen)}, ${addresses}: ${reasonsOf(chosen)}`;
    const [warning] = warningsOf(chosen);
    const finding =
      warning === undefined ? ok("interface", message) : bad("warn", "interface", message, warning);
    return { chosen, finding };
  } catch (error) {
    return { chosen: null, finding: failed("interface", error) };
  }
}

function rangeFindings(network: NetworkConfig | null, chosen: ChosenInterfaces | null): readonly Finding[] {
  if (network === null || chosen === null) return [];
  const problem = ownAddressProblem(
    network,
    mapFamilies(chosen, ({ address }) => address),
  );
  if (problem !== null) return [{ verdict: "warn", subject: "range", message: problem, remedy: null }];
  return [ok("range", "this host's address is outside the range of the network")];
}

function lookAtBackend(
  connection: NetlinkConnection,
  audit: Audit | null,
  chosen: ChosenInterfaces | null,
): readonly Finding[] {
  if (audit === null || audit.config === null || chosen === null)
    return [skipped("backend", "the network or the interface is not known")];
  const facts = hostFactsOf(chosen, takeHostSnapshot(connection), audit.config);
  const peers = audit.leases.filter(({ attrs }) => attrs !== null && !hasAddressOf(attrs, chosen));
  return backendFindings(audit.config, facts, peers);
}

function overlapsOf(connection: NetlinkConnection, network: NetworkConfig | null): readonly Finding[] {
  if (network === null) return [];
  const ranges = entriesOf(network.families).map(([, family]) => family.network);
  return overlapFindings(takeHostSnapshot(connection), ranges);
}

function fallbackFindings(network: NetworkConfig, { fallback }: AgentConfig): readonly Finding[] {
  const problem = fallback === "none" ? null : fallbackProblem(network);
  return problem === null ? [] : [bad("fail", "fallback", problem, "remove --fallback")];
}

function lookAtDevices(
  network: NetworkConfig,
  chosen: ChosenInterfaces | null,
  { isReady, report }: DaemonView,
): readonly Finding[] {
  const families = [...entriesOf(network.families)].map(([family]) => family);
  const options = backendFor(network).parseOptions(network.backend.options);
  const links = readLinks();
  return options.expectations(families).flatMap((expected) =>
    deviceFindings({
      expected,
      links,
      portHolder: expected.port === null ? null : holderOfPort(expected.port),
      parent: chosen?.[expected.family]?.link ?? null,
      // One that keeps a former configuration has another device.
      isDaemonReady: isReady && (report?.devices.some(({ name }) => name === expected.device) ?? false),
    }),
  );
}

function readLinks(): readonly LinkObject[] {
  const port = RtnetlinkPort.open();
  try {
    return port.links();
  } finally {
    port.close();
  }
}

function holderOfPort(port: number): string | null {
  const sockets = ["udp", "udp6"].flatMap((table) =>
    parseUdpTable(readFileSync(`/proc/net/${table}`, "utf8")),
  );
  for (const socket of sockets) {
    const holder = socket.port === port ? holderOfSocket(socket.inode) : null;
    if (holder !== null) return holder;
  }
  return null;
}

async function lookAtLeases(
  audit: Audit | null,
  chosen: ChosenInterfaces | null,
  { files }: AgentConfig,
  { report }: DaemonView,
): Promise<readonly Finding[]> {
  if (audit === null) return [skipped("leases", "the store does not answer")];
  try {
    const nodeId = (await readIdentity(files.stateDir))?.nodeId ?? null;
    const publicAddresses = publicAddressesOf(chosen ?? {});
    return leaseFindings(audit, { nodeId, publicAddresses, reported: report?.lease ?? null });
  } catch (error) {
    return [failed("identity", error)];
  }
}

function readLimits(netlink: NetlinkConnection): readonly Cause[] {
  const watch = new DropWatch({
    netlink,
    // Forwarding has a check of its own, which needs no second look.
    ownSubnets: () => ({}),
    clock: systemClock,
    logger: silentLogger,
    faults: new Faults(silentLogger),
  });
  watch.look();
  return watch.troubles;
}

function flanneldFinding(): Finding {
  const pid = findProgram("flanneld");
  if (pid === null) return ok("flanneld", "does not run here");
  return bad(
    "fail",
    "flanneld",
    `runs here (process ${pid}) and manages the same device`,
    "systemctl disable --now flanneld",
  );
}

/** Leases do not depend on the date, certificates do. */
function clockFinding(nowMs: number): Finding {
  const builtMs = statSync("/proc/self/exe").mtimeMs;
  if (nowMs >= builtMs) return ok("clock", new Date(nowMs).toISOString());
  return bad(
    "warn",
    "clock",
    `the date ${new Date(nowMs).toISOString()} is before this program was installed`,
    "set the clock: TLS certificates would be rejected",
  );
}
