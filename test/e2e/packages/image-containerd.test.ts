/** The image as an agent for its host, run by containerd. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ping, startPing } from "../../support/hosts.ts";
import { IMAGE, ImageLab } from "../../support/image-lab.ts";
import { SOON } from "../../support/patience.ts";
import { describeWithPlainContainerd, PlainContainerd } from "../../support/plain-containerd.ts";

describeWithPlainContainerd("the image in containerd", (engines) => {
  const lab = new ImageLab("ctr");
  let containerd: PlainContainerd;

  beforeAll(async () => {
    await lab.build();
    containerd = await PlainContainerd.start(lab.host, engines);
    containerd.ctr("image", "import", lab.archive);
  });
  afterAll(async () => {
    containerd?.dispose();
    await lab.dispose();
  });

  it("joins its host to the network, whose traffic outlives it", async () => {
    const { there, host } = lab;
    const { runDirectory, stateDirectory } = host;
    for (const folder of ["flannel", "tulle"]) mkdirSync(join(runDirectory, folder));
    mkdirSync(stateDirectory, { recursive: true });
    const mount = (source: string, target = source): string =>
      `--mount=type=bind,src=${source},dst=${target},options=rbind:rw`;
    const mounts = [mount("/run/flannel"), mount("/run/tulle"), mount(stateDirectory, "/var/lib/tulle")];
    // ctr(8) replaces the image's entry point by the words behind the name.
    const command = ["/usr/bin/tulled", ...lab.flags];
    containerd.runContainer("agent", IMAGE, ["--net-host", "--privileged", ...mounts], command);
    const status = (): string =>
      containerd.ctr("task", "exec", "--exec-id", `status-${performance.now()}`, "agent", "tulle", "status");
    await expect.poll(status, SOON).toContain("10.2.");
    const here = host.addContainer();
    const running = startPing(there.netns, here.address);
    await ping(here.netns, there.address, 20);
    containerd.ctr("task", "kill", "--signal", "SIGTERM", "agent");
    await ping(here.netns, there.address, 20);
    const { lost, sent } = await running.stop();
    expect(lost).toEqual([]);
    expect(sent).toBeGreaterThan(20);
  });
});
