/** `tulle cni`: what it installs works, what was there before comes back, leaked addresses are found and freed. */

import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
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
  const tulleFails = (...args: string[]) => {
    const { status, stderr } = spawnSync(join(PROGRAMS, "tulle"), ["cni", ...args], { encoding: "utf8" });
    expect(status).toBe(1);
    return stderr;
  };

  it("install: offers the newest version of the specification that all plugins of the chain have", () => {
    const offered = () => JSON.parse(readFileSync(conflist(), "utf8")).cniVersions;
    const portmap = join(host.pluginDir, "portmap");
    const answer = (...versions: string[]) =>
      writeFileSync(portmap, `#!/bin/sh\necho '${JSON.stringify({ supportedVersions: versions })}'\n`, {
        mode: 0o755,
      });
    answer("0.3.1", "0.4.0", "1.0.0", "1.1.0");
    tulle("install", ...places());
    expect(offered()).toEqual(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    answer("0.4.0", "1.0.0");
    tulle("install", ...places());
    expect(offered()).toEqual(["0.4.0", "1.0.0"]);
    answer("0.2.0");
    expect(tulleFails("install", ...places())).toContain(
      `${portmap} supports 0.2.0 only; install a newer one`,
    );
    rmSync(portmap);
    tulle("uninstall", ...places());
    expect(existsSync(conflist())).toBe(false);
  });

  it("install warns of a chained plugin that a runtime does not find beside it", () => {
    const install = (...options: string[]): string => {
      const words = ["cni", "install", ...places(), ...options];
      const { status, stderr } = spawnSync(join(PROGRAMS, "tulle"), words, { encoding: "utf8" });
      expect(status).toBe(0);
      return stderr;
    };
    expect(install("--chained", "none")).toBe("");
    const missing = `${join(host.pluginDir, "absent")} is missing, and no container starts without it`;
    expect(install("--chained", "absent")).toContain(missing);
    rmSync(join(host.pluginDir, "bandwidth"), { force: true });
    const warning = /bandwidth is in (\S+) and not in (\S+):.* run "tulle cni install --bin-dir \1"/;
    expect(warning.exec(install("--chained", "bandwidth"))?.slice(1)).toEqual([
      expect.stringMatching(/^\/usr\/(lib|libexec)\/cni$/),
      host.pluginDir,
    ]);
    writeFileSync(
      join(host.pluginDir, "bandwidth"),
      '#!/bin/sh\necho \'{"supportedVersions":["1.0.0","1.1.0"]}\'\n',
      { mode: 0o755 },
    );
    expect(install("--chained", "bandwidth")).toBe("");
  });

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

  it("install takes the Node program where the executable does not run, and says so", () => {
    const dist = join(host.dir, "dist");
    for (const part of ["lib", "package.json"]) {
      cpSync(join(PROGRAMS, "..", part), join(dist, part), { recursive: true });
    }
    mkdirSync(join(dist, "bin"));
    writeFileSync(join(dist, "bin/tulle-cni"), "\x7fELF of another machine", { mode: 0o755 });
    const command = [join(dist, "lib/tulle.cjs"), "cni", "install", ...places()];
    const { status, stderr } = spawnSync(process.execPath, command, { encoding: "utf8" });
    expect([status, stderr]).toEqual([0, expect.stringContaining("the plugin will run on Node")]);
    const container = host.addContainer();
    for (const verb of ["ADD", "DEL"]) {
      expect(host.call(verb, { container, program: plugin() }).exitCode).toBe(0);
    }
    tulle("uninstall", ...places());
    expect(existsSync(plugin())).toBe(false);
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

  it("install changes nothing where the chain cannot work", () => {
    writeFileSync(plugin(), "the former plugin");
    const answer = `#!/bin/sh\necho '{"supportedVersions":["0.2.0"]}'\n`;
    writeFileSync(join(host.pluginDir, "portmap"), answer, { mode: 0o755 });
    expect(tulleFails("install", ...places())).toContain("supports 0.2.0 only");
    expect(readFileSync(plugin(), "utf8")).toBe("the former plugin");
    expect(readdirSync(host.pluginDir).sort()).toEqual(["flannel", "portmap"]);
  });

  it("uninstall takes back an installation that ended before it replaced anything", () => {
    mkdirSync(join(host.dir, "net.d"));
    writeFileSync(plugin(), "the former plugin");
    writeFileSync(conflist(), "{}");
    for (const file of [plugin(), conflist()]) linkSync(file, `${file}.before-tulle`);
    expect(tulle("uninstall", ...places())).toBe("");
    expect(readdirSync(join(host.dir, "net.d"))).toEqual(["10-flannel.conflist"]);
    expect(readdirSync(host.pluginDir)).toEqual(["flannel"]);
  });

  it("uninstall restores what install replaced after its own files were deleted, and says so", () => {
    mkdirSync(join(host.dir, "net.d"));
    writeFileSync(plugin(), "the former plugin");
    writeFileSync(conflist(), "{}");
    tulle("install", ...places());
    rmSync(plugin());
    rmSync(conflist());
    expect(tulle("uninstall", ...places())).toBe(
      [conflist(), plugin()].map((file) => `restored ${file} from ${file}.before-tulle\n`).join(""),
    );
    expect([plugin(), conflist()].map((file) => readFileSync(file, "utf8"))).toEqual([
      "the former plugin",
      "{}",
    ]);
    expect(readdirSync(host.pluginDir)).toEqual(["flannel"]);
    expect(tulleFails("uninstall", ...places())).toContain("remove it if nothing needs it");
  });

  it("uninstall says what it removed and what it restored, and where a backup is that it cannot restore", () => {
    writeFileSync(plugin(), "the former plugin");
    tulle("install", ...places());
    expect(tulle("uninstall", ...places())).toBe(
      `removed ${conflist()}\nrestored ${plugin()} from ${plugin()}.before-tulle\n`,
    );
    tulle("install", ...places());
    rmSync(plugin());
    writeFileSync(plugin(), "another plugin");
    expect(tulleFails("uninstall", ...places(), "--no-conflist")).toContain(
      `${plugin()}.before-tulle is the file from before the installation`,
    );
    expect(readFileSync(plugin(), "utf8")).toBe("another plugin");
  });

  it("uninstall names the containers that need the plugin, unless the former one has come back", () => {
    const container = host.addContainer();
    expect(host.call("ADD", { container }).exitCode).toBe(0);
    const uninstall = (): string => {
      tulle("install", ...places());
      const folders = ["--data-dir", join(host.dir, "ipam"), "--state-dir", host.stateDir];
      const words = [`--net=${host.netns.path}`, join(PROGRAMS, "tulle"), "cni", "uninstall"];
      return spawnSync("nsenter", [...words, ...places(), ...folders], { encoding: "utf8" }).stderr;
    };
    expect(uninstall()).toContain(`${container.id.slice(0, 12)}; their runtime can remove them only while`);
    writeFileSync(plugin(), "the former plugin");
    expect(uninstall()).toBe("");
    rmSync(plugin());
    expect(host.call("DEL", { container }).exitCode).toBe(0);
    expect(uninstall()).toBe("");
  });

  it("install chains the plugins that were asked for, and uninstall need not be told", () => {
    const chain = (...options: string[]) => {
      tulle("install", ...places(), ...options);
      return JSON.parse(readFileSync(conflist(), "utf8")).plugins.slice(1);
    };
    const portmap = { type: "portmap", capabilities: { portMappings: true } };
    const bandwidth = { type: "bandwidth", capabilities: { bandwidth: true } };
    expect(chain("--chained", "bandwidth,tuning", "--network", "other")).toEqual([
      bandwidth,
      { type: "tuning" },
    ]);
    expect(chain("--chained", "none")).toEqual([]);
    expect(chain("--chained")).toEqual([portmap]);
    tulle("install", ...places(), "--network", "third");
    tulle("uninstall", ...places());
    expect(readdirSync(join(host.dir, "net.d"))).toEqual([]);
  });

  it.each([
    ["--name", "../flannel"],
    ["--network", "a b"],
    ["--chained", "portmap,"],
  ])("install rejects %s %s", (option, value) => {
    expect(() => tulle("install", ...places(), option, value)).toThrow(new RegExp(`${option}: .* is wrong`));
    expect([existsSync(plugin()), existsSync(conflist())]).toEqual([false, false]);
  });

  it("uninstall leaves a changed configuration", () => {
    tulle("install", ...places());
    writeFileSync(conflist(), `${readFileSync(conflist(), "utf8")}\n`);
    expect(() => tulle("uninstall", ...places())).toThrow(/is not as "tulle cni install" wrote it/);
    expect(existsSync(conflist())).toBe(true);
  });

  it("uninstall leaves a file that another program wrote", () => {
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
    // Not of an ADD that may be at work.
    const minutesAgo = Date.now() / 1000 - 120;
    utimesSync(join(folder, "10.5.72.7"), minutesAgo, minutesAgo);
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
