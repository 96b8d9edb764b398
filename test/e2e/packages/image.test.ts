/** The image as an agent for its host, on Docker's engines and on containerd. */

import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createImage, DockerHost, describeWithDocker } from "../../support/docker.ts";
import { addressOn, outcomeOf } from "../../support/docker-lab.ts";
import { type Container, EtcdLab, ping, startPing } from "../../support/hosts.ts";
import { PackageFolder } from "../../support/packages.ts";
import { SOON } from "../../support/patience.ts";

const IMAGE = "localhost/tulle:0.1.0";

/** As docs/install.md has them. */
const PRIVILEGES = [
  "--read-only",
  "--cap-drop=ALL",
  ...["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"].map((name) => `--cap-add=${name}`),
  "--security-opt=systempaths=unconfined",
];

describeWithDocker("the image", (engines) => {
  const net = new EtcdLab("image", {
    hosts: 2,
    isStoreApart: true,
    config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
  });
  let packages: PackageFolder;
  let docker: DockerHost;
  let there: Container;
  let here: Container;

  beforeAll(async () => {
    packages = new PackageFolder();
    const [image = ""] = await packages.add("0.1.0", "oci");
    await net.build();
    await net.host(1).daemon.start(...net.flags);
    there = net.host(1).addContainer();
    docker = new DockerHost(net.host(2), engines);
    // The overlay's bridge takes the name of Docker's.
    await docker.start(createImage(packages.path), "--bridge=none");
    expect(docker.docker("load", "--input", join(packages.path, image))).toContain(IMAGE);
  });
  afterAll(async () => {
    docker.dispose();
    await net.dispose();
    packages.dispose();
  });

  const folders = (): readonly string[] =>
    [
      "/run/flannel:/run/flannel",
      "/run/tulle:/run/tulle",
      "/run/docker/plugins:/run/docker/plugins",
      "/run/docker.sock:/run/docker.sock",
      `${net.host(2).stateDirectory}:/var/lib/tulle`,
    ].map((volume) => `--volume=${volume}`);

  it("has programs that run without the rest of a system", () => {
    const answer = (entry: string, ...args: readonly string[]): string =>
      docker.docker("run", "--rm", "--network=none", `--entrypoint=${entry}`, IMAGE, ...args);
    expect(answer("/usr/bin/tulled", "--version")).toMatch(/^tulled \d/);
    expect(answer("nft", "--version")).toMatch(/^nftables v/);
    expect(answer("iptables-save", "--version")).toContain("nf_tables");
    expect(answer("ip6tables-legacy-save", "--version")).toContain("legacy");
    expect(answer("sh", "-c", "echo $((6 * 7)) | cat")).toBe("42");
  });

  it("says in one line which privilege is missing", () => {
    const { ok, text } = outcomeOf(docker, "run", "--rm", "--network=host", "--cap-drop=ALL", IMAGE);
    expect(ok).toBe(false);
    expect(text).toContain(
      "CAP_NET_ADMIN is missing: run tulled as root, or give its service that capability",
    );
  });

  it("joins its host to the network", async () => {
    docker.docker(
      ...["run", "--detach", "--name=agent", "--network=host"],
      ...[...PRIVILEGES, ...folders(), IMAGE, ...net.flags],
    );
    const status = (): string => docker.docker("exec", "agent", "tulle", "status");
    await expect.poll(status, SOON).toContain("10.2.");
    here = net.host(2).addContainer();
    expect((await ping(here.netns, there.address, 20)).lost).toEqual([]);
    expect(net.host(2).netns.exec("iptables-save", [])).toContain("FLANNEL-FWD");
    expect(docker.logs("agent")).not.toMatch(/ (warn|error) /);
  });

  it("serves named networks to the engine that it runs in", () => {
    docker.docker("network", "create", "--driver=tulle", "--ipam-driver=tulle", "blue");
    for (const name of ["c1", "c2"])
      docker.runContainer(name, { options: ["--network=blue"], command: ["sleep", "100000"] });
    expect(docker.exec("c1", "ping", "-c", "1", "-W", "5", addressOn(docker, "c2", "blue"))).toContain(
      "1 packets received",
    );
  });

  it("is restarted and removed without a lost packet", async () => {
    const running = startPing(there.netns, here.address);
    docker.docker("restart", "agent");
    await expect.poll(() => docker.docker("exec", "agent", "tulle", "status"), SOON).toContain("10.2.");
    docker.docker("rm", "--force", "agent");
    await ping(there.netns, here.address, 50);
    const { lost, sent } = await running.stop();
    expect(lost).toEqual([]);
    expect(sent).toBeGreaterThan(20);
  });

  it("removes the network with the command cleanup", () => {
    const { netns } = net.host(2);
    expect(netns.ipJson(["link", "show", "type", "vxlan"])).not.toEqual([]);
    docker.docker(
      ...["run", "--rm", "--network=host", ...PRIVILEGES, ...folders(), "--entrypoint=/usr/bin/tulle"],
      ...[IMAGE, "cleanup"],
    );
    expect(netns.ipJson(["link", "show", "type", "vxlan"])).toEqual([]);
    expect(netns.exec("iptables-save", [])).not.toContain("FLANNEL-FWD");
  });
});
