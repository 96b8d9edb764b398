/** A port that another program holds: named, and taken as soon as it is free. */

import { expect, it } from "vitest";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";
import { whileHeld } from "../support/port-holder.ts";

const BACKENDS = [
  { backend: { Type: "vxlan", VNI: 1 }, port: 8472 },
  { backend: { Type: "udp" }, port: 8285 },
];

for (const { backend, port } of BACKENDS) {
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
  });
}
