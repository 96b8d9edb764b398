/** `tulle cni`: what it installs works, what was there before comes back, leaked addresses are found and freed. */

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { CniHost, NETWORK_NAME } from "../../support/cni-host.ts";
import { PROGRAMS } from "../../support/hosts.ts";
import { describeAsRoot } from "../../support/netns.ts";

describeAsRoot("tulle cni", () => {
  let host: CniHost;
  beforeEach(() => {
    host = new CniHost("install");
  });
  afterEach(() => host.dispose());

  const plugin = () => join(host.pluginDir, "flannel");
  const conflist = () => join(host.dir, "net.d/10-flannel.conflist");
  const places = () => ["--bin-dir", host.pluginDir, "--conf-dir", join(host.dir, "net.d")];
  const tulle = (...args: string[]) =>
    execFileSync(join(PROGRAMS, "tulle"), ["cni", ...args], { encoding: "utf8" });

  it("install: the plugin serves, and the network is flannel's", () => {
    expect(tulle("install", ...places())).toBe(`wrote ${plugin()}\nwrote ${conflist()}\n`);
    const { plugins } = JSON.parse(readFileSync(conflist(), "utf8"));
    expect(plugins).toEqual([
      { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
      { type: "portmap", capabilities: { portMappings: true } },
    ]);
    const shipped = join(import.meta.dirname, "../../../deploy/cni/10-flannel.conflist");
    expect(JSON.parse(readFileSync(conflist(), "utf8"))).toEqual(JSON.parse(readFileSync(shipped, "utf8")));
    const container = host.addContainer();
    expect(host.call("ADD", { container, program: plugin() }).exitCode).toBe(0);
    expect(host.call("DEL", { container, program: plugin() }).exitCode).toBe(0);
    tulle("uninstall", ...places());
    expect([existsSync(plugin()), existsSync(conflist())]).toEqual([false, false]);
    expect(tulle("uninstall", ...places())).toBe("");
  });

  it("install keeps what it replaces, also when called twice, and uninstall brings it back", () => {
    mkdirSync(join(host.dir, "net.d"));
    writeFileSync(plugin(), "the former plugin");
    writeFileSync(conflist(), "{}");
    tulle("install", ...places());
    tulle("install", ...places());
    tulle("uninstall", ...places());
    expect(readFileSync(plugin(), "utf8")).toBe("the former plugin");
    expect(readFileSync(conflist(), "utf8")).toBe("{}");
  });

  it("uninstall leaves a file that somebody else wrote", () => {
    writeFileSync(plugin(), "another plugin");
    const { status, stderr } = spawnSync(join(PROGRAMS, "tulle"), ["cni", "uninstall", ...places()], {
      encoding: "utf8",
    });
    expect(status).not.toBe(0);
    expect(stderr).toContain(plugin());
    expect(readFileSync(plugin(), "utf8")).toBe("another plugin");
  });

  it("ipam: lists, finds and frees addresses", () => {
    const container = host.addContainer();
    host.call("ADD", { container });
    const folder = join(host.dir, "ipam", NETWORK_NAME);
    writeFileSync(join(folder, "10.5.72.7"), "recorded\r\neth0");
    writeFileSync(join(host.stateDir, `${NETWORK_NAME}:recorded:eth0`), "{}");
    writeFileSync(join(folder, "10.5.72.8"), "");
    writeFileSync(join(folder, "10.5.72.9"), "foreign\r\neth0");
    const ipam = (...args: string[]) => {
      const folders = ["--data-dir", join(host.dir, "ipam"), "--state-dir", host.stateDir];
      const command = [
        `--net=${host.netns.path}`,
        join(PROGRAMS, "tulle"),
        "cni",
        "ipam",
        ...args,
        ...folders,
      ];
      const { status, stdout, stderr } = spawnSync("nsenter", command, { encoding: "utf8" });
      return { status, lines: stdout.trim().split("\n").sort(), stderr };
    };
    expect(ipam("list").lines).toEqual([
      `cbr0\t10.5.72.2\tused\t${container.id}\teth0`,
      "cbr0\t10.5.72.7\tgone\trecorded\teth0",
      "cbr0\t10.5.72.8\tdamaged\t-\t-",
      "cbr0\t10.5.72.9\tunknown\tforeign\teth0",
    ]);
    expect(ipam("check")).toMatchObject({ status: 1, lines: [{}, {}].map(() => expect.any(String)) });
    ipam("release", "--gone");
    expect(host.reservations()).toEqual(["10.5.72.2", "10.5.72.9"]);
    expect(ipam("check")).toMatchObject({ status: 0, lines: [""] });
    ipam("release", "10.5.72.9");
    expect(host.reservations()).toEqual(["10.5.72.2"]);
    expect(ipam("release", "10.5.72.200").stderr).toContain("10.5.72.200 is not reserved");
    expect(ipam("release").stderr).toContain("either an address or --gone");
  });
});
