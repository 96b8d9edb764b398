/** subnet.env under a running daemon: real files and folders, a fake clock. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SubnetFileKeeper } from "../../../../agent/network/subnet-file-keeper.ts";
import { Prefix, parseInterfaceAddress } from "../../../../ipam/addresses/ip.ts";
import { formatSubnetEnv, type SubnetEnv } from "../../../../ipam/config/subnet-env.ts";
import { FakeClock, settle } from "../../../support/fake-clock.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";

const ENV: SubnetEnv = {
  networks: { 4: [Prefix.parse("10.2.0.0/16")] },
  subnets: { 4: parseInterfaceAddress("10.2.7.1/24") },
  mtuBytes: 1450,
  ipMasq: false,
};

let folder: string;
let path: string;
let clock: FakeClock;
let stop: AbortController;
let logger: ReturnType<typeof recordingLogger>;
let keeper: SubnetFileKeeper;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-subnet-"));
  path = join(folder, "run", "subnet.env");
  clock = new FakeClock();
  stop = new AbortController();
  logger = recordingLogger();
  keeper = new SubnetFileKeeper({ path, clock, random: () => 0.5, logger, onChange: () => undefined });
  void keeper.run(stop.signal);
});
afterEach(async () => {
  stop.abort();
  await settle();
  rmSync(folder, { recursive: true, force: true });
});

const text = (): string => readFileSync(path, "utf8");
const warnings = () => logger.lines.filter(({ level }) => level === "warn");

/** File operations and events take real time, checks fake time: no step begins before the last one is through. */
async function pass(ms: number): Promise<void> {
  for (let step = 0; step < 10; step += 1) {
    await clock.advance(ms / 10);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await expect.poll(() => clock.hasSleepers, { timeout: 5_000, interval: 1 }).toBe(true);
  }
}

describe("subnet.env under a running daemon", () => {
  it("is a blocking problem until it is written, and none afterwards", async () => {
    expect(keeper.problem).toMatchObject({ isBlocking: true });
    await keeper.set(ENV);
    expect(text()).toBe(formatSubnetEnv(ENV));
    expect(keeper.problem).toBeNull();
    expect(logger.lines).toEqual([]);
  });

  it.each<[string, () => void, RegExp]>([
    ["the file is deleted", () => unlinkSync(path), /deleted/],
    ["the file is overwritten", () => writeFileSync(path, "FLANNEL_MTU=1\n"), /overwritten/],
    ["the file is emptied", () => writeFileSync(path, ""), /overwritten/],
    ["its folder is deleted", () => rmSync(dirname(path), { recursive: true }), /deleted/],
  ])("is restored with one warning when %s", async (_name, harm, message) => {
    await keeper.set(ENV);
    harm();
    await pass(6000);
    expect(text()).toBe(formatSubnetEnv(ENV));
    expect(keeper.problem).toBeNull();
    expect(warnings()).toMatchObject([{ message: expect.stringMatching(message), fields: { path } }]);
  });

  it("follows a reload without a warning", async () => {
    await keeper.set(ENV);
    await keeper.set({ ...ENV, ipMasq: true });
    expect(text()).toContain("FLANNEL_IPMASQ=true");
    expect(warnings()).toEqual([]);
  });

  it("holds the newest settings after a foreign change and a reload at once", async () => {
    await keeper.set(ENV);
    writeFileSync(path, "FLANNEL_MTU=1\n");
    await keeper.set({ ...ENV, mtuBytes: 1400 });
    expect(text()).toContain("FLANNEL_MTU=1400");
    expect(warnings()).toHaveLength(1);
  });

  it("reports contention, restores ever less often and logs a bounded number of warnings", async () => {
    await keeper.set(ENV);
    let restored = 0;
    for (let round = 0; round < 60; round += 1) {
      if (text() === formatSubnetEnv(ENV)) restored += 1;
      writeFileSync(path, `FLANNEL_MTU=${round}\n`);
      await pass(1000);
    }
    expect(restored).toBeLessThan(12);
    expect(warnings().length).toBeLessThanOrEqual(2);
    expect(keeper.problem).toMatchObject({
      text: expect.stringMatching(/changed \d+ times by another program/),
    });
    await pass(200_000);
    expect(text()).toBe(formatSubnetEnv(ENV));
    expect(keeper.problem).toBeNull();
  });

  it("retries while a folder is in its place, with one warning, and says why", async () => {
    mkdirSync(path, { recursive: true });
    await keeper.set(ENV);
    expect(keeper.problem).toMatchObject({ isBlocking: true, text: expect.stringContaining("directory") });
    await pass(5000);
    expect(warnings()).toHaveLength(1);
    rmSync(path, { recursive: true });
    await pass(40_000);
    expect(text()).toBe(formatSubnetEnv(ENV));
    expect(keeper.problem).toBeNull();
  });

  it("retries while its folder is a file", async () => {
    writeFileSync(dirname(path), "");
    await keeper.set(ENV);
    expect(keeper.problem).toMatchObject({ isBlocking: true });
    unlinkSync(dirname(path));
    await pass(40_000);
    expect(text()).toBe(formatSubnetEnv(ENV));
  });
});
