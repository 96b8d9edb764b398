/** The image as an agent for its host, on Docker's engines and on containerd. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { createImage, DockerHost, describeWithDocker } from "../../support/docker.ts";
import { addressOn, outcomeOf } from "../../support/docker-lab.ts";
import { type Container, ping, startPing } from "../../support/hosts.ts";
import { IMAGE, ImageLab } from "../../support/image-lab.ts";
import { SOON } from "../../support/patience.ts";

/** As docs/install.md has them. */
const PRIVILEGES = [
  "--read-only",
  "--cap-drop=ALL",
  ...["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"].map((name) => `--cap-add=${name}`),
  "--security-opt=systempaths=unconfined",
];

describeWithDocker("the image", (engines) => {
  const lab = new ImageLab("image");
  let docker: DockerHost;
  let here: Container;

  beforeAll(async () => {
    await lab.build();
    docker = new DockerHost(lab.host, engines);
    // The overlay's bridge takes the name of Docker's.
    await docker.start(createImage(lab.folder), "--bridge=none");
    expect(docker.docker("load", "--input", lab.archive)).toContain(IMAGE);
  });
  afterAll(async () => {
    docker?.dispose();
    await lab.dispose();
  });

  const folders = (): readonly string[] =>
    [
      "/run/flannel:/run/flannel",
      "/run/tulle:/run/tulle",
      "/run/docker/plugins:/run/docker/plugins",
      "/run/docker.sock:/run/docker.sock",
      `${lab.host.stateDirectory}:/var/lib/tulle`,
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
      ...[...PRIVILEGES, ...folders(), IMAGE, ...lab.flags],
    );
    const status = (): string => docker.docker("exec", "agent", "tulle", "status");
    await expect.poll(status, SOON).toContain("10.2.");
    here = lab.host.addContainer();
    expect((await ping(here.netns, lab.there.address, 20)).lost).toEqual([]);
    expect(lab.host.netns.exec("iptables-save", [])).toContain("FLANNEL-FWD");
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
    const { there } = lab;
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
    const { netns } = lab.host;
    expect(netns.ipJson(["link", "show", "type", "vxlan"])).not.toEqual([]);
    docker.docker(
      ...["run", "--rm", "--network=host", ...PRIVILEGES, ...folders(), "--entrypoint=/usr/bin/tulle"],
      ...[IMAGE, "cleanup"],
    );
    expect(netns.ipJson(["link", "show", "type", "vxlan"])).toEqual([]);
    expect(netns.exec("iptables-save", [])).not.toContain("FLANNEL-FWD");
  });
});
