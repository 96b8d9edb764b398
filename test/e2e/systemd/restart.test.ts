/**
 * Restarts of the service while its own thread carries the packets: systemd keeps device and sockets open meanwhile, and the
 * next run carries what waits in them. No packet is lost, on the fall-back and in a udp network.
 *
 * Packets are counted at 100 a second, from container to container.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { StatusReport } from "../../../agent/report/status.ts";
import { BootedHost, describeWithSystemd } from "../../support/booted-host.ts";
import { type Container, type Host, ping, startPing, useEtcdLab } from "../../support/hosts.ts";
import { installService } from "../../support/installed-service.ts";

const SERVICE = "tulled.service";
const PATIENCE = { timeout: 60_000, interval: 100 };
const LONG = { timeout: 120_000 };
const NETWORK = { Network: "10.2.0.0/16", EnableIPv6: true, IPv6Network: "fd00:2::/48" };

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A host of the lab whose daemon is a service. */
class ServiceHost {
  readonly #booted: BootedHost;

  constructor(host: Host) {
    this.#booted = new BootedHost("restart", host.netns);
  }

  boot(flags: readonly string[]): Promise<void> {
    return this.#booted.boot(installService(flags.join(" ")));
  }

  start(): void {
    this.#booted.systemctl("start", SERVICE);
  }

  stop(): void {
    this.#booted.systemctl("stop", SERVICE);
  }

  restart(): void {
    this.#booted.systemctl("restart", SERVICE);
  }

  kill(): void {
    this.#booted.systemctl("kill", "--signal=KILL", SERVICE);
  }

  /** For the next start. */
  setFlags(flags: readonly string[]): void {
    this.#booted.run("sh", "-c", `echo 'TULLED_OPTIONS=${flags.join(" ")}' > /etc/default/tulled`);
  }

  /** How many the service manager keeps. */
  get descriptors(): number {
    return Number(this.property("NFileDescriptorStore"));
  }

  devices(): string {
    return this.#booted.run("ip", "-o", "link", "show");
  }

  subnetFile(): string {
    return this.#booted.run("cat", "/run/flannel/subnet.env");
  }

  property(name: string): string {
    return this.#booted.property(SERVICE, name);
  }

  status(): StatusReport {
    return JSON.parse(this.#booted.run("tulle", "status", "--json"));
  }

  dispose(): void {
    this.#booted.dispose();
  }
}

/** Pings in all families until it is stopped. */
function watch(from: Container, to: Container) {
  const pings = Object.values(to.addresses).map((address) => startPing(from.netns, address));
  return {
    expectNoLoss: async () => {
      for (const each of pings) {
        const { sent, lost } = await each.stop();
        expect({ lost, sent: sent > 0 }).toEqual({ lost: [], sent: true });
      }
    },
  };
}

/** Two hosts, a service on the first, and a container on each. */
function useService(backend: string, ...more: readonly string[]) {
  const net = useEtcdLab(`kept-${backend}`, {
    hosts: 2,
    config: { ...NETWORK, Backend: { Type: backend } },
    families: [4, 6],
    isStoreApart: true,
  });
  let service: ServiceHost;
  let boxes: readonly [Container, Container];

  beforeAll(async () => {
    const [one, two] = [net.host(1), net.host(2)];
    const flags = [...net.flags, ...more];
    service = new ServiceHost(one);
    await Promise.all([service.boot(flags), two.daemon.start(...flags)]);
    service.start();
    mkdirSync(join(one.runDirectory, "flannel"));
    writeFileSync(join(one.runDirectory, "flannel/subnet.env"), service.subnetFile());
    boxes = [one.addContainer(), two.addContainer()];
  }, 120_000);
  afterAll(() => service?.dispose());

  /** Neighbours are resolved, and bridges forward. */
  const untilFlowing = async () => {
    const [from, to] = boxes;
    for (const address of Object.values(to.addresses))
      await expect.poll(async () => (await ping(from.netns, address, 5)).lost, PATIENCE).toEqual([]);
  };
  return { net, untilFlowing, service: () => service, boxes: () => boxes };
}

describeWithSystemd("a restart of the service on the fall-back", () => {
  const { net, untilFlowing, service, boxes } = useService("vxlan", "--fallback=udp");
  const path = () => service().status().peers[0]?.path;

  it("loses no packet, and changes no path", LONG, async () => {
    await untilFlowing();
    const rules = `add table inet fault
      add chain inet fault tunnel { type filter hook input priority -500; }
      add rule inet fault tunnel udp dport 8472 drop`;
    net.host(2).netns.exec("sh", ["-c", `nft '${rules}'`]);
    await expect.poll(path, PATIENCE).toBe("fallback");
    await expect.poll(() => service().descriptors, PATIENCE).toBe(3);
    const pings = watch(...boxes());
    service().restart();
    expect(path()).toBe("fallback");
    service().restart();
    await pause(1_000);
    await pings.expectNoLoss();
    expect(path()).toBe("fallback");
    expect(service().descriptors).toBe(3);
  });

  it("keeps a device that was made again", LONG, async () => {
    const { netns } = net.host(1);
    netns.ip("link delete flannel0");
    await expect.poll(() => service().devices(), PATIENCE).toContain("flannel0");
    await untilFlowing();
    await expect.poll(() => service().descriptors, PATIENCE).toBe(3);
    const pings = watch(...boxes());
    service().restart();
    await pause(1_000);
    await pings.expectNoLoss();
  });

  it("closes what is kept when the service is stopped", LONG, async () => {
    service().stop();
    await expect.poll(() => service().descriptors, PATIENCE).toBe(0);
    service().start();
    await untilFlowing();
    await expect.poll(() => service().descriptors, PATIENCE).toBe(3);
  });

  it("closes what is kept when the flag is gone", LONG, async () => {
    service().setFlags(net.flags);
    service().restart();
    await expect.poll(() => service().descriptors, PATIENCE).toBe(0);
    await expect.poll(() => service().devices(), PATIENCE).not.toContain("flannel0");
  });
});

describeWithSystemd("a restart of the service in a udp network", () => {
  const { untilFlowing, service, boxes } = useService("udp");

  it("loses no packet", LONG, async () => {
    await untilFlowing();
    const pings = watch(...boxes());
    service().restart();
    await pause(1_000);
    await pings.expectNoLoss();
  });

  it("loses none when the daemon is killed", LONG, async () => {
    const pings = watch(...boxes());
    const former = service().property("MainPID");
    service().kill();
    await expect.poll(() => service().property("MainPID"), PATIENCE).not.toBe(former);
    await expect.poll(() => service().property("ActiveState"), PATIENCE).toBe("active");
    await pause(1_000);
    await pings.expectNoLoss();
  });
});
