/** A port that another program holds: named, and taken as soon as it is free. */

import { expect, it } from "vitest";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";
import { whileHeld } from "../support/port-holder.ts";

const BACKENDS = [
  { backend: { Type: "vxlan", VNI: 1 }, port: 8472, device: "flannel.1" },
  { backend: { Type: "udp" }, port: 8285, device: "flannel0" },
];

for (const { backend, port, device } of BACKENDS) {
  describeWithEtcd(`${backend.Type} with its port in use`, () => {
    const net = useEtcdLab(`port-${backend.Type}`, {
      hosts: 1,
      config: { Network: "10.2.0.0/16", Backend: backend },
    });

    it("names the port, and works once it is free", async () => {
      const host = net.host(1);
      await whileHeld(host, port, async () => {
        host.daemon.spawn(...net.flags);
        const { problems, isReady } = await host.daemon.until(
          ({ problems }) => problems.some((text) => text.includes(`UDP port ${port}`)),
          "names the port",
        );
        expect(problems.join()).toContain(
          `another program uses UDP port ${port}; stop it, or set Backend.Port`,
        );
        expect(isReady).toBe(false);
      });
      await host.daemon.until(({ isReady, problems }) => isReady && problems.length === 0, "is ready");
      expect(await host.daemon.stop()).toBe(0);
    });

    it("names the device that has its device's name as an alternative one, and works once it has not", async () => {
      const host = net.host(1);
      host.run("ip", "link", "delete", device);
      host.run("ip", "link", "property", "add", "dev", "eth0", "altname", device);
      host.daemon.spawn(...net.flags);
      const remedy = `${device} is an alternative name of eth0; remove it: ip link property del dev eth0 altname ${device}`;
      const named = await host.daemon.until(
        ({ problems }) => problems.some((text) => text.includes(remedy)),
        "names the device",
      );
      expect(named.isReady).toBe(false);
      host.run("ip", "link", "property", "del", "dev", "eth0", "altname", device);
      await host.daemon.until(({ isReady, problems }) => isReady && problems.length === 0, "is ready");
      expect(await host.daemon.stop()).toBe(0);
    });
  });
}

describeWithEtcd("a fall-back with its port in use", () => {
  const net = useEtcdLab("port-fallback", {
    hosts: 1,
    config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
  });

  it("is named with its flag, while the network works", async () => {
    const host = net.host(1);
    await whileHeld(host, 8285, async () => {
      await host.daemon.start(...net.flags, "--fallback=udp");
      const { problems } = await host.daemon.until(
        (status) => status.problems.some((text) => text.includes("UDP port 8285")),
        "names the port",
      );
      expect(problems.join()).toMatch(
        /there is no fall-back \(--fallback\): bind .* \(another program uses UDP port 8285; stop it/,
      );
    });
    await host.daemon.until(({ problems }) => problems.length === 0, "has its fall-back");
    expect(await host.daemon.stop()).toBe(0);
  });
});
