/** `tulle docker setup` where daemon.json cannot be written: one line that says what to do, and nothing is left. */

import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TULLE } from "../../support/hosts.ts";

import { describeAsRoot } from "../../support/netns.ts";

const SETTINGS = '{ "debug": true }\n';
const READ_ONLY = /its file system is mounted read-only: make that writable/;

describeAsRoot("a daemon.json that cannot be written", () => {
  let folder: string;
  let etc: string;
  let daemonJson: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-read-only-"));
    etc = join(folder, "etc");
    daemonJson = join(etc, "daemon.json");
    mkdirSync(etc);
    writeFileSync(daemonJson, SETTINGS);
    writeFileSync(
      join(folder, "subnet.env"),
      "FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.54.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
    );
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** Runs it in a mount namespace of its own, in which `place` is a mount; everything is gone when it ends. */
  const setUp = (place: string, ...options: readonly string[]) => {
    const mounts = `mount --bind "${place}" "${place}"; mount -o "remount,bind,${options.join(",") || "rw"}" "${place}"`;
    const command = [...TULLE, "docker", "setup", "--into", "daemon-json"];
    const files = [
      ["--daemon-json", daemonJson],
      ["--unit-dir", join(folder, "units")],
      ["--subnet-file", join(folder, "subnet.env")],
    ];
    return spawnSync(
      "unshare",
      [
        "-m",
        "--propagation",
        "private",
        "sh",
        "-ec",
        `${mounts}; exec "$@"`,
        "sh",
        ...command,
        ...files.flat(),
      ],
      { encoding: "utf8" },
    );
  };

  it.each<[string, () => string, readonly string[], RegExp]>([
    ["in a read-only folder", () => etc, ["ro"], READ_ONLY],
    ["that is mounted read-only", () => daemonJson, ["ro"], /it is a mount point/],
    ["that is mounted", () => daemonJson, [], /it is a mount point/],
    [
      "behind a link into a read-only folder",
      () => {
        const store = join(folder, "store");
        mkdirSync(store);
        writeFileSync(join(store, "daemon.json"), SETTINGS);
        rmSync(daemonJson);
        symlinkSync(join(store, "daemon.json"), daemonJson);
        return store;
      },
      ["ro"],
      READ_ONLY,
    ],
  ])("%s", (_, prepare, options, remedy) => {
    const { status, stdout, stderr } = setUp(prepare(), ...options);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stderr).toMatch(remedy);
    expect(stderr).toContain(daemonJson);
    expect(readdirSync(etc)).toEqual(["daemon.json"]);
    expect(readFileSync(daemonJson, "utf8")).toBe(SETTINGS);
  });
});
