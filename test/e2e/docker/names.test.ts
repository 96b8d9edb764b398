/** The name server behind the embedded DNS of a real dockerd. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Bundle, bundle } from "../../support/bundle.ts";
import { type Daemon, startDaemon, untilReady } from "../../support/daemon.ts";
import { createImage, DockerHost, describeWithDocker } from "../../support/docker.ts";
import { createLab, type Lab } from "../../support/hosts.ts";

const SERVER = "169.254.53.53";

describeWithDocker("names for containers of Docker", (engines) => {
  let lab: Lab;
  let docker: DockerHost;
  let program: Bundle;
  let names: Daemon;
  let resolvConf = "";

  /** The containers on the networks `red` and `blue` of the fixed view, by address on their bridge. */
  async function startNames(clients: Readonly<Record<string, readonly number[]>>): Promise<void> {
    names = startDaemon(process.execPath, [program.path, resolvConf, JSON.stringify(clients)], {
      netns: docker.host.netns,
    });
    await untilReady(
      async () => names.output.includes("ready\n"),
      () => names.output,
    );
  }

  beforeAll(async () => {
    lab = createLab("names");
    docker = new DockerHost(lab.addHost(), engines);
    resolvConf = join(lab.directory, "resolv.conf");
    writeFileSync(resolvConf, "nameserver 127.0.0.53\n");
    program = await bundle("names-process.ts");
    writeFileSync(docker.configFile, JSON.stringify({ dns: [SERVER] }));
    await docker.start(createImage(lab.directory));
    docker.docker("network", "create", "--subnet", "172.30.0.0/24", "one");
    for (const [name, address] of [
      ["red1", "172.30.0.10"],
      ["blue1", "172.30.0.20"],
      ["other", "172.30.0.30"],
    ] as const) {
      docker.runContainer(name, {
        options: ["--network", "one", "--ip", address, "--stop-timeout=0"],
        command: ["sleep", "3600"],
      });
    }
    docker.runContainer("plain", { command: ["sleep", "3600"] });
    await startNames({ "172.30.0.10": [1], "172.30.0.20": [2] });
  });
  afterAll(async () => {
    await names?.kill();
    docker?.dispose();
    program?.dispose();
    lab?.dispose();
  });

  /** What busybox's nslookup prints; it fails for a name that has no IPv6 address. */
  const lookUp = (container: string, name: string, ...server: string[]): string =>
    docker.exec(container, "sh", "-c", `nslookup ${[name, ...server].join(" ")} 2>&1 || true`);

  it("resolve on the networks of the asking container, by Docker's embedded DNS", () => {
    const answer = lookUp("red1", "web.");
    for (const part of ["127.0.0.11", "10.100.0.2", "fd00::2"]) expect(answer).toContain(part);
    expect(lookUp("red1", "0123456789ab.")).toContain("10.100.0.2");
    expect(lookUp("red1", "10.100.0.2")).toContain("web.red");
    expect(lookUp("blue1", "web.")).toContain("10.101.0.2");
    expect(lookUp("red1", "secret.")).toContain("NXDOMAIN");
    for (const container of ["other", "plain"]) expect(lookUp(container, "web.")).toContain("NXDOMAIN");
  });

  it("are what ping resolves, and an unknown one is an error at once", () => {
    expect(docker.exec("red1", "sh", "-c", "ping -c1 -W1 db || true")).toContain("PING db (10.100.0.3)");
    const startMs = performance.now();
    expect(docker.exec("red1", "sh", "-c", "ping -c1 nowhere 2>&1 || true")).toContain("bad address");
    expect(performance.now() - startMs).toBeLessThan(3000);
  });

  it("leave names of Docker's own and of the world as they are", () => {
    expect(lookUp("red1", "blue1.")).toContain("172.30.0.20");
    for (const container of ["red1", "other", "plain"])
      expect(lookUp(container, "shop.example.")).toContain("192.0.2.77");
  });

  it("fail while the name server is stopped, and come back with it", async () => {
    await names.kill();
    expect(lookUp("red1", "web.")).not.toContain("10.100.0.2");
    await startNames({ "172.30.0.10": [1] });
    expect(lookUp("red1", "web.")).toContain("10.100.0.2");
  });
});
