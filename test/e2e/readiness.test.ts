/** What keeps a host from being a working member shows in status, /readyz and the log alike, and heals. */

import { execFile } from "node:child_process";
import { rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { describeWithEtcd, type Host, useEtcdLab } from "../support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const WAIT = { timeout: 15_000, interval: 50 };

describeWithEtcd("a running member", () => {
  const net = useEtcdLab("ready", { hosts: 3, config: CONFIG, etcdFlags: ["--quota-backend-bytes=8388608"] });
  const start = (host: Host, ...flags: string[]) =>
    host.daemon.start(...net.flags, "-healthz-port=8471", ...flags);
  const readyz = (host: Host): string =>
    host.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8471/readyz");
  const logOf = (host: Host, text: string): string[] =>
    host.daemon.log.split("\n").filter((line) => line.includes(text));

  it("restores subnet.env when it is deleted, overwritten or loses its folder, with one warning each", async () => {
    const host = net.host(2);
    await start(host);
    const text = host.subnetFileText();
    const path = join(host.runDirectory, "flannel/subnet.env");
    const now = () => host.run("sh", "-c", "cat /run/flannel/subnet.env 2>/dev/null || true");
    for (const [harm, message] of [
      [() => unlinkSync(path), "subnet file was deleted by another program"],
      [
        () => writeFileSync(path, "DOCKER_OPTS=--bip=10.9.9.1/24\n"),
        "subnet file was overwritten by another program",
      ],
    ] as const) {
      harm();
      await expect.poll(now, WAIT).toBe(text);
      expect(logOf(host, "by another program").at(-1)).toContain(message);
      expect(logOf(host, message)).toEqual([expect.stringContaining("path=/run/flannel/subnet.env")]);
      // The next change begins a series of its own after a restart only.
      await host.daemon.stop();
      await start(host);
    }
    rmSync(join(host.runDirectory, "flannel"), { recursive: true });
    await expect.poll(now, WAIT).toBe(text);
    await host.daemon.until(({ isReady }) => isReady, "is ready");
  });

  it("is not ready while the store has no room for its new address, says why, and recovers", async () => {
    const host = net.host(2);
    fillEtcd();
    host.netns.ip(
      "address delete 192.168.50.12/24 dev eth0",
      "address add 192.168.50.82/24 brd + dev eth0",
      "route replace default via 192.168.50.1",
    );
    const status = await host.daemon.until(
      ({ blocking }) => blocking.some((text) => text.includes("space exceeded")),
      "says that its address is not published",
    );
    expect(status.isReady).toBe(false);
    expect(readyz(host)).toBe("503");
    expect([...net.leases().values()].join()).not.toContain("192.168.50.82");
    emptyEtcd();
    await host.daemon.until(({ isReady }) => isReady, "is ready with its new address");
    expect([...net.leases().values()].join()).toContain("192.168.50.82");
    expect(readyz(host)).toBe("200");
  });

  it("stays ready while the network configuration is missing in the store, and says what starts wait for", async () => {
    const host = net.host(2);
    net.delete("config");
    const isMissing = (problems: readonly string[]): boolean =>
      problems.some((text) => text.includes("the network configuration is missing in the store"));
    const { isReady } = await host.daemon.until(({ problems }) => isMissing(problems), "misses it");
    expect(isReady).toBe(true);
    net.putConfig(CONFIG);
    await host.daemon.until(({ problems }) => !isMissing(problems), "has it again");
  });

  it("answers throughout thousands of configurations, of which it applies the newest", async () => {
    const host = net.host(3);
    await start(host);
    const count = 3600;
    // The backend subtracts its 50 bytes.
    const mtuOf = (index: number): number => (index === count - 1 ? 1401 : 1300 + (index % 100));
    const writer = writeConfigs(Array.from({ length: count }, (_, index) => mtuOf(index)));
    let isWriting = true;
    void writer.finally(() => {
      isWriting = false;
    });
    let answers = 0;
    while (isWriting) {
      expect(await host.daemon.status()).not.toBeNull();
      answers += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await writer;
    expect(answers).toBeGreaterThan(0);
    await expect.poll(() => host.subnetFileText(), WAIT).toContain("FLANNEL_MTU=1351\n");
    expect(logOf(host, "host or network options changed").length).toBeLessThan(count / 10);
    expect((await host.daemon.status())?.problems).toEqual([]);
  });

  it("answers 503 while subnet.env cannot be written and 200 once it can", async () => {
    const host = net.host(3);
    await host.daemon.stop();
    host.run("sh", "-c", "rm -rf /run/flannel && mkdir -p /run/flannel/subnet.env");
    host.daemon.spawn(...net.flags, "-healthz-port=8471");
    const status = await host.daemon.until(
      ({ blocking }) => blocking.some((text) => text.includes("/run/flannel/subnet.env")),
      "says that it cannot write",
    );
    expect(status.isReady).toBe(false);
    expect(readyz(host)).toBe("503");
    host.run("rmdir", "/run/flannel/subnet.env");
    await host.daemon.until(({ isReady }) => isReady, "is ready");
    expect(readyz(host)).toBe("200");
  });

  /** Writes values until etcd raises its NOSPACE alarm. */
  function fillEtcd(): void {
    const value = "x".repeat(100_000);
    for (let index = 0; index < 200; index += 1) {
      try {
        net.etcd.ctl("put", `/filler/${index}`, value);
      } catch (error) {
        if (String(error).includes("space exceeded")) return;
        throw error;
      }
    }
    throw new Error("etcd still has room");
  }

  function emptyEtcd(): void {
    net.etcd.ctl("del", "--prefix", "/filler/");
    const status = JSON.parse(net.etcd.ctl("endpoint", "status", "-w", "json"));
    net.etcd.ctl("compact", String(status[0].Status.header.revision));
    net.etcd.ctl("defrag");
    net.etcd.ctl("alarm", "disarm");
  }

  /** Puts one configuration after the other over one connection, as fast as etcd takes them. */
  async function writeConfigs(mtus: readonly number[]): Promise<void> {
    const base64 = (text: string): string => Buffer.from(text).toString("base64");
    const requests = mtus.map((mtu) => {
      const value = JSON.stringify({ ...CONFIG, Backend: { Type: "vxlan", MTU: mtu } });
      const body = JSON.stringify({ key: base64(`${net.prefix}/config`), value: base64(value) });
      return `url=${net.etcd.endpoints[0]}/v3/kv/put\ndata=${JSON.stringify(body)}\noutput=/dev/null\n`;
    });
    const file = join(net.lab.directory, "requests");
    writeFileSync(file, requests.join("next\n"));
    const [program = "", ...args] = net.host(1).enter("curl", "-s", "-K", file);
    await promisify(execFile)(program, args, { maxBuffer: 1 << 24 });
  }
});
