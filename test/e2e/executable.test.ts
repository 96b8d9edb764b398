/** The one executable on hosts that have nothing else, under every name, and in turn with the programs on Node. */

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Daemon } from "../../agent/demo/daemon.ts";
import { hasCompiler } from "../../deploy/package/bun-runtime.mjs";
import { enterBareRoot, fillBareRoot } from "../support/bare-root.ts";
import { dataPathOf, everythingOf } from "../support/data-path.ts";
import {
  fileStoreOf,
  type Host,
  MIN_PACKETS,
  onNode,
  PROGRAMS,
  ping,
  startPing,
  useLab,
} from "../support/hosts.ts";
import { watchDevice } from "../support/monitor.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../support/netns.ts";

const EXECUTABLE = join(PROGRAMS, "tulle");
const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
/** The kernel ends the program when this process is gone (prctl(2), PR_SET_PDEATHSIG). */
const END_WITH_US = ["setpriv", "--pdeathsig", "KILL"];

/** Skipped, visibly, where npm has not installed Bun, unless CI is set. */
function describeCompiled(name: string, body: () => void): void {
  if (hasCompiler()) describeAsRoot(name, body);
  else if (process.env.CI) throw new Error(`"${name}" needs Bun: run npm ci without --omit=optional`);
  else describe.skip(`${name} (npm has not installed Bun)`, body);
}

describeCompiled("the executable in a read-only root with the C library alone", () => {
  const lab = useLab("bare");
  let root = "";
  let host: Host;
  let peer: Host;
  let container: TestNetns;
  let daemon: Daemon;

  /** The command that runs a program of the root on the host. */
  const inside = (...command: readonly string[]): readonly string[] => {
    const { directory } = lab();
    const folders = {
      "/run": host.runDirectory,
      "/var/lib": join(directory, "data"),
      "/store": join(directory, "store"),
      "/netns": "/run/netns",
    };
    return ["nsenter", `--net=${host.netns.path}`, ...enterBareRoot(root, folders, ...command)];
  };

  const run = (command: readonly string[], env: NodeJS.ProcessEnv = {}, input = "") => {
    const [program = "", ...args] = inside(...command);
    const { PATH } = process.env;
    return spawnSync(program, args, { encoding: "utf8", env: { PATH, ...env }, input });
  };

  const cni = (verb: string, result: object = {}) => {
    const config = {
      cniVersion: "1.0.0",
      name: "cbr0",
      type: "flannel",
      // Masquerading needs nft or iptables, which the root does not have.
      delegate: { hairpinMode: true, isDefaultGateway: true, ipMasq: false },
      ...result,
    };
    const variables = {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: "bare",
      CNI_NETNS: `/netns/${container.name}`,
      CNI_IFNAME: "eth0",
      CNI_PATH: "/usr/bin",
    };
    return run(["/usr/bin/tulle-cni"], variables, JSON.stringify(config));
  };

  beforeAll(async () => {
    [host, peer] = [lab().addHost(), lab().addHost()];
    root = join(lab().directory, "root");
    fillBareRoot(root, EXECUTABLE);
    mkdirSync(join(lab().directory, "data"));
    const store = await fileStoreOf(lab(), CONFIG);
    container = createNetns("bare-container");
    daemon = new Daemon({
      command: [...END_WITH_US, ...inside("/usr/bin/tulled", "--store=file:/store", "--iface=eth0")],
      runDirectory: host.runDirectory,
      logFile: join(lab().directory, "bare.log"),
    });
    await Promise.all([daemon.start(), peer.daemon.start(`--store=${store}`, "--iface=eth0")]);
  });
  afterAll(async () => {
    await daemon.stop();
    container.dispose();
  });

  it("joins the network and shows its status", async () => {
    await daemon.until(({ peers }) => peers.length === 1, "has its peer");
    const { status, stdout, stderr } = run(["/usr/bin/tulle", "status"]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain(`${host.subnetEnv().subnets[4]?.address}`.replace(/1$/, "0"));
  });

  it("attaches a container that others can ping, and detaches it", async () => {
    const added = cni("ADD");
    expect([added.status, added.stdout, added.stderr]).toEqual([0, expect.stringContaining("10.2."), ""]);
    const [{ address = "" }] = JSON.parse(added.stdout).ips;
    const other = peer.addContainer();
    await peer.daemon.until(({ peers, kernel }) => peers.length === 1 && kernel.isConverged, "has its peer");
    const { lost } = await ping(other.netns, address.split("/")[0], 10);
    expect(lost, [host.netns, container, peer.netns].map(everythingOf).join("\n")).toEqual([]);
    expect(cni("CHECK", { prevResult: JSON.parse(added.stdout) }).status).toBe(0);
    expect(cni("DEL").status).toBe(0);
    expect(container.exec("ip", ["-o", "link"])).not.toContain("eth0");
  });
});

describeCompiled("a host that passes from the programs on Node to the executable and back", () => {
  const lab = useLab("pass");

  it("loses no packet, and changes nothing in the kernel", async () => {
    const [host, peer] = [lab().addHost(), lab().addHost()];
    const flags = [`--store=${await fileStoreOf(lab(), CONFIG)}`, "--iface=eth0"];
    const formOf = (command: readonly string[], name: string) =>
      new Daemon({
        command: host.enter(...END_WITH_US, ...command, `--state-dir=${host.stateDirectory}`),
        runDirectory: host.runDirectory,
        logFile: join(lab().directory, `${name}.log`),
      });
    const node = formOf(onNode("tulled"), "node");
    const executable = formOf([EXECUTABLE, "tulled"], "executable");
    await Promise.all([node.start(...flags), peer.daemon.start(...flags)]);
    await node.until(({ peers, kernel }) => peers.length === 1 && kernel.isConverged, "has its peer");
    const [from, to] = [host.addContainer(), peer.addContainer()];
    const before = [dataPathOf(host.netns), host.subnetFileText()];
    const monitor = await watchDevice(host.netns, "flannel.1");
    const running = startPing(from.netns, to.address);
    for (const [last, next] of [
      [node, executable],
      [executable, node],
    ] as const) {
      expect(await last.stop()).toBe(0);
      await next.start(...flags);
      await next.until(({ kernel }) => kernel.isConverged, "is at rest");
    }
    const report = await running.stop();
    expect(await monitor.stop()).toEqual([]);
    expect([dataPathOf(host.netns), host.subnetFileText()]).toEqual(before);
    expect(report.lost).toEqual([]);
    expect(report.sent).toBeGreaterThan(MIN_PACKETS);
    await node.stop();
  });
});

describeCompiled("the executable's names and surroundings", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-names-"));
    for (const name of ["tulle", "tulle-linux-x64", "tulled", "tulle-cni", "tulle-netavark"])
      symlinkSync(EXECUTABLE, join(folder, name));
    mkdirSync(join(folder, "netavark"));
    symlinkSync("../tulle-netavark", join(folder, "netavark/tulle"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (name: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) => {
    const { status, stdout, stderr } = spawnSync(join(folder, name), args, { encoding: "utf8", env });
    return { status, stdout, stderr };
  };

  it("is the program of its name, or of its first word", () => {
    expect(run("tulled", ["--version"]).stdout).toMatch(/^tulled \d/);
    expect(run("tulle", ["version"]).stdout).toMatch(/^tulle \d/);
    expect(run("tulle-linux-x64", ["tulled", "--version"]).stdout).toMatch(/^tulled \d/);
    expect(run("tulle-netavark", ["info"]).stdout).toContain("api_version");
    expect(run("netavark/tulle", ["info"]).stdout).toContain("api_version");
    symlinkSync("tulled", join(folder, "agent"));
    const called = spawnSync("agent", ["--version"], { encoding: "utf8", env: { PATH: folder } });
    expect(called.stdout).toMatch(/^tulled \d/);
    expect(run("tulle-cni", [], { CNI_COMMAND: "VERSION" }).stdout).toContain("supportedVersions");
  });

  it("says what is wrong with a word or a name that it does not know, in one line", () => {
    expect(run("tulle", ["tullet"])).toEqual({
      status: 2,
      stdout: "",
      stderr: "tulle: unknown command 'tullet'; see tulle --help\n",
    });
    copyFileSync(EXECUTABLE, join(folder, "renamed"));
    expect(run("renamed", ["status"])).toEqual({
      status: 2,
      stdout: "",
      stderr: expect.stringMatching(/^tulle: the name "renamed" of this file is unknown: call it .*\n$/),
    });
  });

  it("runs in a folder that was deleted, where it writes nothing", () => {
    const inDeleted = (...command: readonly string[]) => {
      const script = 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"';
      const words = ["-c", script, join(folder, "deleted"), ...command];
      const { status, stdout, stderr } = spawnSync("/bin/sh", words, {
        encoding: "utf8",
        env: { PATH: process.env.PATH, CNI_COMMAND: "VERSION" },
      });
      return { status, stdout, stderr };
    };
    expect(inDeleted(EXECUTABLE, "version")).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^tulle \d/),
      stderr: "",
    });
    expect(inDeleted(join(folder, "tulle-cni")).stdout).toContain("supportedVersions");
    expect(inDeleted(join(folder, "tulle-netavark"), "info").stdout).toContain("api_version");
    expect(inDeleted(EXECUTABLE, "report", "--output", "here").stderr).toMatch(
      /^tulle: here cannot be written: ENOENT/,
    );
  });

  it("runs where /proc shows processes only", () => {
    const script = 'mount -t proc -o subset=pid proc /proc && CNI_COMMAND=VERSION "$0" && exec "$1" status';
    const programs = ["tulle-cni", "tulle"].map((name) => join(folder, name));
    const words = ["--mount", "--net", "--pid", "--fork", "sh", "-c", script, ...programs];
    const { stdout, stderr } = spawnSync("unshare", words, { encoding: "utf8" });
    expect(stdout).toContain("supportedVersions");
    expect(stderr).toMatch(/^tulle: \S+ does not answer: .*\n$/);
  });

  it("says that /proc is not mounted, in one line", () => {
    const script = 'mount -t tmpfs tmpfs /proc && exec "$0" version';
    const { status, stdout, stderr } = spawnSync("unshare", ["--mount", "sh", "-c", script, EXECUTABLE], {
      encoding: "utf8",
    });
    expect({ status, stdout, stderr }).toEqual({
      status: 1,
      stdout: "",
      stderr: "tulle: /proc is not mounted here; mount it: mount -t proc proc /proc\n",
    });
  });
});
