/** Files of Docker and of tulle, for each test. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import type { SetupTarget } from "../../agent/docker/collisions.ts";
import { parseEngineVersion } from "../../agent/docker/engine-version.ts";
import { applyChange, type FileChange } from "../../agent/docker/file-change.ts";
import { planSetup, readSubnetFile, type SetupPlan } from "../../agent/docker/setup.ts";
import { planUnset, type SetupPaths } from "../../agent/docker/setup-changes.ts";

export const SUBNET_ENV = `FLANNEL_NETWORK=10.2.0.0/16
FLANNEL_SUBNET=10.2.54.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;
export const BY_HAND = `{
\t"mtu" : 9000,
\t"log-opts": { "max-size": "10m" }
}`;
export const UNIT = `[Unit]
Description=Docker

[Service]
ExecStart=/usr/sbin/dockerd -H fd:// \\
  $DOCKER_OPTS
`;

export let folder: string;
export let paths: SetupPaths;
/** Any program: it is not called. */
export let tulle = process.execPath;

/** Makes these before each test of a file, and removes them after. */
export function useDockerFiles(): void {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-docker-"));
    paths = {
      subnetFile: join(folder, "subnet.env"),
      daemonJson: join(folder, "docker/daemon.json"),
      unitDirectory: join(folder, "system"),
    };
    mkdirSync(join(folder, "docker"));
    mkdirSync(join(folder, "system/docker.service.d"), { recursive: true });
    writeFileSync(paths.subnetFile, SUBNET_ENV);
    tulle = process.execPath;
  });
  afterEach(() => rmSync(folder, { recursive: true }));
}

export const IPV6 = "FLANNEL_IPV6_NETWORK=fd00:2::/48\nFLANNEL_IPV6_SUBNET=fd00:2:0:54::1/64\n";
export const writeSubnetEnv = (text: string): void => writeFileSync(paths.subnetFile, text);

/** The path of the program that a drop-in names. */
export function setProgram(path: string): void {
  tulle = path;
}

export async function plan(asked: SetupTarget | null, version: string | null = null): Promise<SetupPlan> {
  const subnet = await readSubnetFile(paths.subnetFile);
  const readVersion = async () =>
    version === null ? null : parseEngineVersion(`Docker version ${version}, build 1`);
  return await planSetup({ target: asked, subnet, tulle, paths, readVersion });
}

export async function setUp(asked: SetupTarget | null = "daemon-json"): Promise<readonly FileChange[]> {
  const { changes } = await plan(asked);
  for (const change of changes) await applyChange(change);
  return changes;
}

export async function unset(): Promise<void> {
  for (const change of await planUnset(paths)) await applyChange(change);
}

export const daemonJson = (): string => readFileSync(paths.daemonJson, "utf8");
export const writeUnit = (text = UNIT): void =>
  writeFileSync(join(paths.unitDirectory, "docker.service"), text);
