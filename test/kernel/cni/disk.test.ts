/** The plugin where its folders are on a disk that is full, or cannot be written. */

import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type CniContainer, CniHost } from "../../support/cni-host.ts";
import { unmountBelow } from "../../support/mounts.ts";
import { describeAsRoot } from "../../support/netns.ts";

describeAsRoot("tulle-cni on a disk", () => {
  let host: CniHost;
  const place = () => join(host.dir, "disk");
  const config = () => ({
    cniVersion: "1.1.0",
    dataDir: join(place(), "state"),
    ipam: { dataDir: join(place(), "ipam") },
  });
  const answerTo = (verb: string, container: CniContainer) =>
    host.call(verb, { container, config: config() });
  beforeEach(() => {
    host = new CniHost("disk");
    mkdirSync(place());
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", place()]);
  });
  afterEach(() => {
    unmountBelow(host.dir);
    host.dispose();
  });

  it("that is full: ADD says so and leaves nothing, DEL frees what is there", () => {
    const [first, second] = [host.addContainer(), host.addContainer()];
    expect(answerTo("ADD", first).exitCode).toBe(0);
    expect(() => writeFileSync(join(place(), "fill"), Buffer.alloc(1 << 20))).toThrow("ENOSPC");
    expect(answerTo("ADD", second).json).toMatchObject({ code: 5, msg: expect.stringContaining("ENOSPC") });
    expect(readdirSync(join(place(), "state"))).toHaveLength(2);
    for (const container of [second, first]) expect(answerTo("DEL", container).exitCode).toBe(0);
    expect(readdirSync(join(place(), "state"))).toEqual([]);
    expect(host.leftovers()).toEqual([]);
  });

  it("that cannot be written: DEL of what is gone already is a success, ADD and STATUS say so", () => {
    const container = host.addContainer();
    expect(answerTo("ADD", container).exitCode).toBe(0);
    expect(answerTo("DEL", container).exitCode).toBe(0);
    execFileSync("mount", ["-o", "remount,ro", place()]);
    expect(answerTo("DEL", container)).toMatchObject({ exitCode: 0, stdout: "" });
    expect(answerTo("ADD", container).json).toMatchObject({
      code: 5,
      msg: expect.stringContaining("EROFS"),
    });
    expect(answerTo("STATUS", container).json).toMatchObject({ code: 50 });
  });

  it("names a folder that cannot be written", () => {
    const file = join(host.dir, "file");
    writeFileSync(file, "");
    chmodSync(file, 0o400);
    const { json } = host.call("ADD", {
      container: host.addContainer(),
      config: { ipam: { dataDir: `${file}/x` } },
    });
    expect(json).toMatchObject({ code: 5, msg: expect.stringContaining(file) });
  });
});
