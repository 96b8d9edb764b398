/** What a running tulled says of itself, and how it serves Docker and names. */

import { existsSync } from "node:fs";
import { TulleError } from "../../ipam/errors.ts";
import type { AgentConfig } from "../config/config.ts";
import { readBridgeFacts } from "../docker/bridge-facts.ts";
import { dockerServers } from "../docker/dns.ts";
import { DOCKER_BRIDGE } from "../docker/findings.ts";
import { givenBridge } from "../docker/given-bridge.ts";
import { isPluginFound } from "../docker/plugin-folders.ts";
import { readSubnetFile } from "../docker/setup.ts";
import { isDockerWanted } from "../docker/wanted.ts";
import type { EngineServiceStatus } from "../engines/engine-service.ts";
import { isNameServerThere } from "../names/probe.ts";
import { askStatus } from "../report/ask-status.ts";
import { askControl, isControlServed } from "../report/control.ts";
import { isAnswered } from "../report/private-socket.ts";
import type { StatusReport } from "../report/status.ts";
import { bridgeFindings } from "./bridge-checks.ts";
import { dockerFindings } from "./docker-checks.ts";
import { bad, type Finding, failed, ok } from "./finding.ts";
import { nameFindings } from "./name-checks.ts";

export interface DaemonView {
  readonly isReady: boolean;
  /** Null when no daemon answers, or it has not joined. */
  readonly report: StatusReport | null;
  readonly finding: Finding;
}

export async function lookAtDaemon({ files }: AgentConfig, signal: AbortSignal): Promise<DaemonView> {
  try {
    const report = await askStatus(files.runDir, signal);
    const isReady = report?.isReady ?? false;
    if (report === null || !isReady) {
      const [why] = report?.blocking ?? [];
      const message = `runs, but is not ready${why === undefined ? "" : `: ${why}`}`;
      const remedy = '"tulle status" and its log say why';
      return { isReady, report, finding: bad("fail", "daemon", message, remedy) };
    }
    const [problem] = report.problems;
    const finding =
      problem === undefined
        ? ok("daemon", "runs and is ready")
        : bad("warn", "daemon", problem, '"tulle status" shows all problems');
    return { isReady, report, finding };
  } catch (error) {
    return { isReady: false, report: null, finding: { ...failed("daemon", error), verdict: "warn" } };
  }
}

export async function lookAtDocker(
  { docker, files }: AgentConfig,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  try {
    const isWanted = isDockerWanted(docker);
    const report = isWanted ? await askEngines(files.runDir, signal) : null;
    return dockerFindings({
      settings: docker,
      isWanted,
      isSocketServed: isWanted && (await isAnswered(docker.pluginSocket)),
      isSocketFound: isPluginFound(docker.pluginSocket),
      isDaemonThere: await isControlServed(files.runDir),
      report,
    });
  } catch (error) {
    return [failed("docker", error)];
  }
}

/** Nothing before tulled's first start. */
export async function lookAtBridge({ files }: AgentConfig): Promise<readonly Finding[]> {
  try {
    if (!existsSync(files.subnetFile)) return [];
    const { env } = await readSubnetFile(files.subnetFile);
    return bridgeFindings(env, await givenBridge(), readBridgeFacts(DOCKER_BRIDGE));
  } catch (error) {
    return [failed("docker", error)];
  }
}

/** Null also when tulled does not answer, which is a finding of its own. */
async function askEngines(runDir: string, signal: AbortSignal): Promise<EngineServiceStatus | null> {
  try {
    return (await askControl(runDir, "/docker", signal)) as EngineServiceStatus | null;
  } catch (error) {
    if (error instanceof TulleError) return null;
    throw error;
  }
}

/** Docker's settings matter only where its containers ask us. */
export async function lookAtNames(): Promise<readonly Finding[]> {
  try {
    return nameFindings({ dockerServers: await dockerServers(), isServed: await isNameServerThere() });
  } catch (error) {
    return [failed("names", error)];
  }
}
