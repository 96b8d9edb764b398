import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { isPluginFound } from "../../../../agent/docker/plugin-folders.ts";
import { type DockerFacts, dockerFindings } from "../../../../agent/doctor/docker-checks.ts";

const SOCKET = "/run/docker/plugins/tulle.sock";
const REPORT = { failure: null, podmanContainers: 0, engineProblem: null, problems: [], networks: [] };
const facts = (more: Partial<DockerFacts> = {}): DockerFacts => ({
  settings: { plugin: "auto", pluginSocket: SOCKET, engineSocket: "/var/run/docker.sock" },
  ...{ isWanted: true, isSocketServed: true, isSocketFound: true, isDaemonThere: true, report: REPORT },
  ...more,
});
const lines = (more: Partial<DockerFacts>) =>
  dockerFindings(facts(more)).map(({ verdict, message }) => `${verdict} ${message}`);

it("says nothing without Docker, and that the driver is switched off", () => {
  expect(lines({ isWanted: false })).toEqual([]);
  const settings = { ...facts().settings, plugin: "off" as const };
  expect(lines({ isWanted: false, settings })).toEqual([
    expect.stringMatching(/^skip .*--docker-plugin=off/),
  ]);
});

it("counts networks and containers while all is well", () => {
  const networks = [{ dockerId: "a", network: "blue", containers: 2 }];
  expect(lines({ report: { ...REPORT, networks } })).toEqual([
    `ok the driver is served at ${SOCKET}; networks: 1, containers here: 2`,
  ]);
});

it.each<[string, Partial<DockerFacts>, RegExp]>([
  [
    "a host on which no daemon has been started",
    { isSocketServed: false, isDaemonThere: false, report: null },
    /^skip no daemon serves the driver/,
  ],
  [
    "a daemon that was started before Docker was installed",
    { isSocketServed: false, report: null },
    /^fail tulled does not serve .*do not start/,
  ],
  ["a socket that was removed", { isSocketServed: false }, /^fail tulled serves .*nothing answers/],
  ["a driver that failed", { report: { ...REPORT, failure: "no room" } }, /^fail .*does not run: no room/],
  ["a socket where dockerd does not look", { isSocketFound: false }, /^fail dockerd does not look/],
  ["an engine that is away", { report: { ...REPORT, engineProblem: "it is away" } }, /^warn it is away/],
  [
    "a network out of order",
    { report: { ...REPORT, problems: ["network x is odd"] } },
    /^warn network x is odd/,
  ],
])("names %s", (_, more, expected) => {
  expect(lines(more)).toEqual([expect.stringMatching(expected)]);
});

it("knows where dockerd looks for a driver", () => {
  const folder = mkdtempSync(join(tmpdir(), "tulle-specs-"));
  try {
    const found = (socket: string) => isPluginFound(socket, [folder]);
    expect(found(SOCKET)).toBe(true);
    expect(found("/run/docker/plugins/tulle/tulle.sock")).toBe(true);
    expect(found("/var/run/docker/plugins/tulle.sock")).toBe(true);
    expect(found("/run/tulle/docker.sock")).toBe(false);
    writeFileSync(join(folder, "docker.spec"), "unix:///run/tulle/docker.sock\n");
    expect(found("/run/tulle/docker.sock")).toBe(true);
    expect(found("/run/other/docker.sock")).toBe(false);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
