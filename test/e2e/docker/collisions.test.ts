/** The options that `tulle docker setup` refuses and lets pass, judged by a real dockerd. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planSetup, readSubnetFile } from "../../../agent/docker/setup.ts";
import { createImage, DockerHost, describeWithDocker } from "../../support/docker.ts";
import { useLab } from "../../support/hosts.ts";

describeWithDocker("options of a docker.service", (engines) => {
  const lab = useLab("options");
  let folder: string;
  let image: string;
  let docker: DockerHost;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-options-"));
    image = createImage(folder);
    mkdirSync(join(folder, "units"));
    writeFileSync(
      join(folder, "subnet.env"),
      "FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.54.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
    );
    docker = new DockerHost(lab().addHost(), engines);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  async function plan(options: string) {
    const paths = {
      subnetFile: join(folder, "subnet.env"),
      daemonJson: join(folder, "daemon.json"),
      unitDirectory: join(folder, "units"),
    };
    const unit = `[Service]\nEnvironment=DOCKER_OPTS="${options}"\nExecStart=/usr/sbin/dockerd $DOCKER_OPTS\n`;
    writeFileSync(join(paths.unitDirectory, "docker.service"), unit);
    const subnet = await readSubnetFile(paths.subnetFile);
    return await planSetup({ target: "drop-in", subnet, tulle: process.execPath, paths });
  }

  describe("that are refused", () => {
    it.each([
      "--bridge=br0",
      "-b none",
      "-b=",
      "-Dbnone",
      "-bip=10.2.54.1/24",
      "--default-gateway=192.0.2.1",
      "--default-gateway=10.2.54.1",
    ])("%s", async (options) => {
      await expect(plan(options)).rejects.toThrow(`DOCKER_OPTS in ${folder}/units/docker.service gives`);
      const given = [...options.split(" "), "--bip=10.2.54.1/24"];
      await expect(docker.start(image, ...given)).rejects.toThrow("dockerd ended");
    });
  });

  describe("that pass, with a warning where one is due", () => {
    it.each<[string, number]>([
      ["--bip=192.0.2.1/24 --mtu 9000", 2],
      ["--fixed-cidr=10.2.54.128/25 --default-gateway 10.2.54.7", 2],
      ["-D --ip-masq", 1],
    ])("%s", async (options, warnings) => {
      const { start, warnings: given } = await plan(options);
      expect(given).toHaveLength(warnings);
      await docker.start(image, ...(start?.arguments ?? []));
      const [bridge] = docker.host.netns.ipJson(["address", "show", "docker0"]);
      expect(JSON.stringify(bridge)).toContain('"local":"10.2.54.1"');
      await docker.stop();
      docker.host.netns.ip("link delete docker0");
    });
  });
});
