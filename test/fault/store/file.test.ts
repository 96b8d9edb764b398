/** Faults of the file store: a full disk, writers killed at any point, a directory that goes and comes. */

import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NetworkStore } from "../../../ipam/stores/contracts.ts";
import { openFileStore } from "../../../ipam/stores/file/store.ts";
import { startDaemon, untilReady } from "../../support/daemon.ts";
import { describeAsRoot } from "../../support/netns.ts";
import { SOON } from "../../support/patience.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";
import { KeptLog, WatchLog } from "../../support/watch-log.ts";

const signal = AbortSignal.timeout(300_000);
let directory = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tulle-file-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function openAt(path: string, log = testEnvironment.log): NetworkStore {
  return openFileStore(path, { ...testEnvironment, log }).network("/test");
}

describe("faults of the file store", () => {
  it("writers killed at random points: acknowledged writes are kept, and no writer is blocked", async () => {
    const program = join(directory, "writer.mjs");
    buildSync({
      entryPoints: ["test/support/file-writer.ts"],
      outfile: program,
      bundle: true,
      platform: "node",
      format: "esm",
    });
    const store = openAt(join(directory, "store"));
    const watched = new WatchLog(store);
    const keys = ["10.1.1.0-24", "10.1.2.0-24", "10.1.3.0-24"];
    const acknowledged = new Acknowledgements();
    let kills = 0;
    for (let round = 0; round < 8; round += 1) {
      const writers = keys.map((key) => startWriter(program, join(directory, "store"), key, acknowledged));
      for (const writer of writers) {
        await writer.isWriting;
        await testEnvironment.clock.sleep(Math.random() * 60, signal);
        await kill(writer.child);
        kills += 1;
      }
    }
    const { entries } = await store.feed.list(signal);
    const values = Object.fromEntries(entries.map(({ key, value }) => [key, Number(value)]));
    for (const [key, last] of acknowledged.last) {
      expect(values[key]).toBeGreaterThanOrEqual(last);
      expect(values[key]).toBeLessThanOrEqual(last + kills);
    }
    const shared = Number((await store.records.read("shared", signal))?.value);
    expect(shared).toBeGreaterThanOrEqual(acknowledged.count);
    expect(shared).toBeLessThanOrEqual(acknowledged.count + kills);
    expect(acknowledged.count).toBeGreaterThanOrEqual(kills);
    await expect.poll(() => watched.leases, SOON).toEqual(mapValues(values, String));
    await watched.stop();
    const files = readdirSync(join(directory, "store"));
    expect(files.filter((name) => name.startsWith("state.")).length).toBeLessThanOrEqual(10);
  });

  it("directory removed and made again: the watch lists what is there now", async () => {
    const path = join(directory, "store");
    const log = new KeptLog();
    const store = openAt(path, log);
    const watched = new WatchLog(store);
    await store.leases.create("10.1.1.0-24", "a", 60, signal);
    await store.leases.create("10.1.2.0-24", "b", 60, signal);
    await expect.poll(() => Object.keys(watched.leases), SOON).toHaveLength(2);
    rmSync(path, { recursive: true });
    await expect.poll(() => watched.leases, SOON).toEqual({});
    await openAt(path).leases.create("10.1.3.0-24", "c", 60, signal);
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.3.0-24": "c" });
    await watched.stop();
    expect(log.lines).toEqual([]);
  });

  it("restored from a copy: a revision that is given out again is not the lease that had it", async () => {
    const path = join(directory, "store");
    const [store, other] = [openAt(path), openAt(path)];
    await store.leases.create("10.1.1.0-24", "a", 60, signal);
    cpSync(path, join(directory, "copy"), { recursive: true });
    const lost = await store.leases.create("10.1.2.0-24", "b", 60, signal);
    rmSync(path, { recursive: true });
    cpSync(join(directory, "copy"), path, { recursive: true });
    expect((await store.feed.list(signal)).entries).toHaveLength(1);
    const theirs = await other.leases.create("10.1.2.0-24", "c", 60, signal);
    expect(theirs.revision).toBe(lost.revision);
    const code = "TULLE_LEASE_LOST";
    await expect(store.leases.replace(lost, "b", 60, signal)).rejects.toMatchObject({ code });
    await expect(store.leases.remove(lost, signal)).rejects.toMatchObject({ code });
    expect((await store.feed.list(signal)).entries).toContainEqual(theirs);
  });

  it("damaged file: says which one, touches nothing, and goes on when it is gone", async () => {
    const path = join(directory, "store");
    const log = new KeptLog();
    const store = openAt(path, log);
    await store.leases.create("10.1.1.0-24", "a", 60, signal);
    const watched = new WatchLog(store);
    await expect.poll(() => watched.listings, SOON).toBe(1);
    const damaged = join(path, "state.0000000000000099");
    writeFileSync(damaged, '{"format":1,');
    await expect(store.feed.list(signal)).rejects.toMatchObject({
      code: "TULLE_STORE",
      message: /state\.0000000000000099.*remove the file if it is damaged$/,
    });
    await expect.poll(() => log.lines, SOON).toEqual(["warn lease store watch failed, trying again"]);
    rmSync(damaged);
    await expect.poll(() => log.lines.at(-1), SOON).toBe("info lease store watch works again");
    expect(watched.leases).toEqual({ "10.1.1.0-24": "a" });
    await watched.stop();
  });
});

describeAsRoot("full disk under the file store", () => {
  it("refuses clearly, keeps everything, lets reads and expiry go on, and recovers", async () => {
    const small = await mountSmallDisk(join(directory, "disk"));
    try {
      const disk = small.path;
      const store = openAt(join(disk, "store"));
      const kept = await store.leases.create("10.1.1.0-24", "kept", 60, signal);
      await store.leases.create("10.1.2.0-24", "short", 1, signal);
      const watched = new WatchLog(store);
      writeFileSync(join(disk, "filler"), "");
      try {
        writeFileSync(join(disk, "filler"), Buffer.alloc(1 << 20));
      } catch (error) {
        expect(error).toMatchObject({ code: "ENOSPC" });
      }
      await expect(store.leases.create("10.1.3.0-24", "more", 60, signal)).rejects.toMatchObject({
        code: "TULLE_STORE",
        retryable: true,
        message: /no space left on device.*free some space; what was stored before is intact$/,
        details: { errno: "ENOSPC", outcomeUnknown: false },
      });
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "kept" });
      expect((await store.feed.list(signal)).entries).toEqual([kept]);
      rmSync(join(disk, "filler"));
      await store.leases.create("10.1.3.0-24", "more", 60, signal);
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "kept", "10.1.3.0-24": "more" });
      expect(watched.listings).toBe(1);
      expect(readdirSync(join(disk, "store")).filter((name) => name.startsWith("new."))).toEqual([]);
      await watched.stop();
    } finally {
      await small.remove();
    }
  });
});

/** A disk of 256 KiB in a mount namespace of its own, which goes with the process that holds it. */
async function mountSmallDisk(point: string): Promise<{ readonly path: string; remove(): Promise<void> }> {
  mkdirSync(point);
  const script = `mount -t tmpfs -o size=256k tmpfs ${point} && echo mounted && exec sleep infinity`;
  const holder = startDaemon("unshare", ["--mount", "--propagation", "private", "sh", "-c", script]);
  await untilReady(
    async () => holder.output.includes("mounted"),
    () => holder.output,
  );
  return { path: `/proc/${holder.pid}/root${point}`, remove: () => holder.kill() };
}

interface Writer {
  readonly child: ChildProcess;
  readonly isWriting: Promise<void>;
}

/** What the writers said that the store had acknowledged. */
class Acknowledgements {
  /** The last number of each key. */
  readonly last = new Map<string, number>();
  /** Rounds of all writers together. */
  count = 0;

  add(key: string, text: string): void {
    const numbers = text.trim().split("\n");
    this.last.set(key, Number(numbers.at(-1)));
    this.count += numbers.length;
  }
}

/** Starts a writer and notes what it says. */
function startWriter(program: string, path: string, key: string, acknowledged: Acknowledgements): Writer {
  const child = spawn("setpriv", ["--pdeathsig", "KILL", process.execPath, program, path, key], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const isWriting = new Promise<void>((resolve, reject) => {
    child.once("exit", () => reject(new Error("the writer ended before it wrote")));
    child.stdout.on("data", (chunk: Buffer) => {
      acknowledged.add(key, chunk.toString());
      resolve();
    });
  });
  return { child, isWriting };
}

async function kill(child: ChildProcess): Promise<void> {
  const closed = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGKILL");
  await closed;
}

function mapValues<A, B>(object: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}
