/** containerd's CRI, the runtime of most Kubernetes nodes, on two hosts of tulled. */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { traces, useCniLab } from "../../support/cni-lab.ts";
import { ContainerdHost, describeWithContainerd } from "../../support/containerd.ts";
import { startDaemon } from "../../support/daemon.ts";

const PODS_PER_HOST = 50;
const AT_ONCE = 5;
const PORT = [{ host_port: 9000 }];
const MANY_MS = 300_000;

interface Pod {
  readonly id: string;
  readonly address: string;
  readonly netnsPath: string;
  readonly reachablePath: string;
}

describeWithContainerd("containerd with tulle-cni", (engines) => {
  const lab = useCniLab("cri", engines.isNewest ? "sid" : "bookworm");
  let one: ContainerdHost;
  let two: ContainerdHost;
  let web: Pod;
  let far: Pod;
  beforeAll(async () => {
    [one, two] = (await Promise.all(
      lab.hosts.map(({ cni, confDir }) => ContainerdHost.start(cni, confDir, engines)),
    )) as [ContainerdHost, ContainerdHost];
  });
  // Pods that cannot be removed have failed the last test; a failure here would keep the hosts from being removed.
  afterAll(() => Promise.allSettled([one?.dispose(), two?.dispose()]));

  const run = async (containerd: ContainerdHost, name: string, ports: { host_port: number }[] = []) => {
    const mappings = ports.map((port) => ({ container_port: 80, ...port }));
    const id = await containerd.runPod(name, mappings);
    return { id, ...(await containerd.inspectPod(id)) };
  };
  const inPod = ({ reachablePath }: Pod, ...command: string[]) =>
    execFileSync("nsenter", [`--net=${reachablePath}`, ...command], { encoding: "utf8" });
  const tracesOfAll = () =>
    lab.hosts.map((host, index) => traces(host, (...command) => (index === 0 ? one : two).run(...command)));
  const ping = (from: Pod, { address }: Pod) =>
    expect(inPod(from, "ping", "-c2", "-W2", address)).toContain(" 0% packet loss");

  it("runs pods on two hosts that reach each other, and neighbours on one", async () => {
    web = await run(one, "web", [{ host_port: 8080 }]);
    far = await run(two, "far");
    const neighbour = await run(one, "neighbour");
    ping(web, far);
    ping(far, web);
    ping(neighbour, web);
    await one.removePod(neighbour.id);
  });

  it("publishes a pod's port for the other host and its pods", async () => {
    const { dir } = lab.hosts[0]?.cni ?? { dir: "" };
    const server = startDaemon("nsenter", [
      `--net=${web.reachablePath}`,
      "busybox",
      "httpd",
      "-f",
      "-h",
      dir,
    ]);
    try {
      const url = `http://${lab.net.host(1).address}:8080/subnet.txt`;
      writeFileSync(`${dir}/subnet.txt`, "published");
      const fetch = ["busybox", "wget", "-q", "-O-", url];
      await expect.poll(() => lab.net.host(2).netns.exec("busybox", fetch.slice(1))).toBe("published");
      expect(inPod(far, ...fetch)).toBe("published");
    } finally {
      await server.kill();
    }
  });

  it("goes on when containerd is killed and started again, and while tulled is stopped", async () => {
    await one.restart();
    ping(far, web);
    await lab.net.host(1).daemon.stop();
    const meanwhile = await run(one, "meanwhile");
    ping(meanwhile, far);
    await lab.net.host(1).daemon.start(...lab.net.flags);
    ping(far, meanwhile);
    await one.removePod(meanwhile.id);
    ping(web, far);
  });

  it("removes a pod whose namespace is gone: DEL comes with an empty CNI_NETNS", async () => {
    const before = tracesOfAll();
    const { id, netnsPath } = await run(one, "lost");
    one.run("umount", "--lazy", netnsPath);
    one.run("rm", netnsPath);
    await one.removePod(id);
    expect(tracesOfAll()).toEqual(before);
  });

  it("refuses a pod while subnet.env is empty, and serves it afterwards", async () => {
    const { subnetFile } = lab.hosts[0]?.cni ?? { subnetFile: "" };
    const text = readFileSync(subnetFile, "utf8");
    // A tulled that runs may write it again.
    await lab.net.host(1).daemon.stop();
    writeFileSync(subnetFile, "");
    await expect(one.runPod("early")).rejects.toThrow(/check that tulled runs on this host/);
    writeFileSync(subnetFile, text);
    await lab.net.host(1).daemon.start(...lab.net.flags);
    await one.removePod(await one.runPod("late"));
  });

  it(
    `leaves nothing of ${2 * PODS_PER_HOST} pods, some with published ports`,
    async () => {
      // The first published port leaves chains of portmap's own, empty ones, for good.
      for (const containerd of [one, two])
        await containerd.removePod((await run(containerd, "first", PORT)).id);
      const before = tracesOfAll();
      await Promise.all([one, two].map((containerd) => runMany(containerd)));
      expect(tracesOfAll()).toEqual(before);
    },
    MANY_MS,
  );

  async function runMany(containerd: ContainerdHost): Promise<void> {
    for (let first = 0; first < PODS_PER_HOST; first += AT_ONCE) {
      const numbers = Array.from({ length: AT_ONCE }, (_, index) => first + index);
      const pods = await Promise.all(
        numbers.map((number) => run(containerd, `many${number}`, number % AT_ONCE === 0 ? PORT : [])),
      );
      expect(new Set(pods.map(({ address }) => address)).size).toBe(AT_ONCE);
      await Promise.all(pods.map(({ id }) => containerd.removePod(id)));
    }
  }

  it("leaves nothing in the end", async () => {
    for (const containerd of [one, two]) {
      for (const { id } of (await containerd.call("ListPodSandbox", {})).items)
        await containerd.removePod(id);
    }
    for (const { cni } of lab.hosts) expect([...cni.reservations(), ...cni.stateFiles()]).toEqual([]);
  });
});
