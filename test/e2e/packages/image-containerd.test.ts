/** The image as an agent for its host, run by containerd. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Container, EtcdLab, ping, startPing } from "../../support/hosts.ts";
import { PackageFolder } from "../../support/packages.ts";
import { SOON } from "../../support/patience.ts";
import { describeWithPlainContainerd, PlainContainerd } from "../../support/plain-containerd.ts";

const IMAGE = "localhost/tulle:0.1.0";

describeWithPlainContainerd("the image in containerd", (engines) => {
  const net = new EtcdLab("ctr", {
    hosts: 2,
    isStoreApart: true,
    config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
  });
  let packages: PackageFolder;
  let containerd: PlainContainerd;
  let there: Container;

  beforeAll(async () => {
    packages = new PackageFolder();
    const [image = ""] = await packages.add("0.1.0", "oci");
    await net.build();
    await net.host(1).daemon.start(...net.flags);
    there = net.host(1).addContainer();
    containerd = await PlainContainerd.start(net.host(2), engines);
    containerd.ctr("image", "import", join(packages.path, image));
  });
  afterAll(async () => {
    containerd?.dispose();
    await net.dispose();
    packages.dispose();
  });

  it("joins its host to the network, whose traffic outlives it", async () => {
    const { runDirectory, stateDirectory } = net.host(2);
    for (const folder of ["flannel", "tulle"]) mkdirSync(join(runDirectory, folder));
    mkdirSync(stateDirectory, { recursive: true });
    const mount = (source: string, target = source): string =>
      `--mount=type=bind,src=${source},dst=${target},options=rbind:rw`;
    const mounts = [mount("/run/flannel"), mount("/run/tulle"), mount(stateDirectory, "/var/lib/tulle")];
    // ctr(8) replaces the image's entry point by the words behind the name.
    const command = ["/usr/bin/tulled", ...net.flags];
    containerd.runContainer("agent", IMAGE, ["--net-host", "--privileged", ...mounts], command);
    const status = (): string =>
      containerd.ctr("task", "exec", "--exec-id", `status-${performance.now()}`, "agent", "tulle", "status");
    await expect.poll(status, SOON).toContain("10.2.");
    const here = net.host(2).addContainer();
    const running = startPing(there.netns, here.address);
    await ping(here.netns, there.address, 20);
    containerd.ctr("task", "kill", "--signal", "SIGTERM", "agent");
    await ping(here.netns, there.address, 20);
    const { lost, sent } = await running.stop();
    expect(lost).toEqual([]);
    expect(sent).toBeGreaterThan(20);
  });
});
