import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Identity, identityPath } from "../../../agent/host/identity.ts";
import { lockInstance } from "../../../agent/host/instance-lock.ts";
import { AgentMetrics } from "../../../agent/report/agent-metrics.ts";
import { askControl, controlSocketPath, serveControl } from "../../../agent/report/control.ts";
import { serveHealth } from "../../../agent/report/health.ts";
import { Metrics } from "../../../agent/report/metrics.ts";
import type { PeerDetails } from "../../../backends/backend.ts";
import { isMulticastMac, type Mac } from "../../../ipam/addresses/mac.ts";
import { Faults } from "../../../ipam/faults.ts";
import { silentLogger } from "../../../ipam/log.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tulle-edges-"));
});
afterAll(() => rm(root, { recursive: true }));
const soon = () => AbortSignal.timeout(5000);

const faults = new Faults(silentLogger);

describe("health", () => {
  it("answers as flanneld, and serves the metrics", async () => {
    let isReady = false;
    const metrics = new Metrics();
    const server = await serveHealth({ host: "127.0.0.1", port: 0, isReady: () => isReady, metrics, faults });
    const get = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
      return [response.status, await response.text()];
    };
    try {
      expect(await get("/healthz")).toEqual([200, "flanneld is running"]);
      expect(await get("/readyz")).toEqual([503, "flanneld is not ready yet"]);
      isReady = true;
      expect(await get("/readyz")).toEqual([200, "flanneld is ready"]);
      expect(await get("/metrics")).toEqual([200, metrics.render()]);
      expect((await get("/other"))[0]).toBe(404);
      await expect(
        serveHealth({ host: "127.0.0.1", port: server.port, isReady: () => isReady, metrics, faults }),
      ).rejects.toMatchObject({ code: "TULLE_CONFIG" });
    } finally {
      await server.close();
    }
  });
});

describe("metrics", () => {
  it("renders counters, gauges with labels and histograms", () => {
    const metrics = new Metrics();
    metrics.add("tulle_changes_total", 2, { kind: "route" });
    metrics.add("tulle_changes_total", 1, { kind: "route" });
    metrics.set("tulle_build_info", 1, { version: 'a"b' });
    metrics.observe("tulle_pass_seconds", 0.02);
    const text = metrics.render();
    expect(text).toContain('tulle_changes_total{kind="route"} 3\n');
    expect(text).toContain('tulle_build_info{version="a\\"b"} 1\n');
    expect(text).toContain(
      'tulle_pass_seconds_bucket{le="0.01"} 0\ntulle_pass_seconds_bucket{le="0.03"} 1\n',
    );
    expect(text).toContain("tulle_pass_seconds_count 1\n");
    expect(text).toContain("# TYPE tulle_passes_total counter\ntulle_passes_total 0\n");
    expect(text).not.toContain("tulle_drift_repaired_total");
  });

  it("asks for sessions before each render, and forgets peers that left", () => {
    const metrics = new Metrics();
    const blue = new AgentMetrics(metrics.of("blue"));
    const session = { handshakeAgeSeconds: 12, receivedBytes: 5, sentBytes: 6 };
    let sessions = new Map<string, PeerDetails>([
      ["10.2.1.0-24", session],
      ["10.2.2.0-24", { ...session, handshakeAgeSeconds: null }],
    ]);
    const end = blue.measure(() => blue.setSessions(sessions));
    const text = metrics.render();
    expect(text).toContain('tulle_peer_handshake_age_seconds{network="blue",peer="10.2.1.0-24"} 12\n');
    expect(text).toContain('tulle_peer_received_bytes_total{network="blue",peer="10.2.2.0-24"} 5\n');
    expect(text).not.toContain('handshake_age_seconds{network="blue",peer="10.2.2.0-24"}');
    sessions = new Map();
    expect(metrics.render()).not.toContain("tulle_peer_");
    sessions = new Map([["10.2.1.0-24", session]]);
    end();
    expect(metrics.render()).not.toContain("tulle_peer_");
  });

  it("shows the counts of the data path while there is one", () => {
    const metrics = new Metrics();
    const blue = new AgentMetrics(metrics.of("blue"));
    blue.setTraffic({
      sent: { packets: 3, bytes: 300 },
      received: { packets: 2, bytes: 200 },
      dropped: { forged: 1, "send error": 0 },
      icmpErrors: { unreachable: 4 },
    });
    const text = metrics.render();
    expect(text).toContain('tulle_path_packets_total{network="blue",direction="sent"} 3\n');
    expect(text).toContain('tulle_path_bytes_total{network="blue",direction="received"} 200\n');
    expect(text).toContain('tulle_path_dropped_packets_total{network="blue",reason="forged"} 1\n');
    expect(text).toContain('tulle_path_dropped_packets_total{network="blue",reason="send error"} 0\n');
    expect(text).toContain('tulle_path_icmp_errors_total{network="blue",type="unreachable"} 4\n');
    blue.setTraffic(null);
    expect(metrics.render()).not.toContain("tulle_path_");
  });
});

describe("control socket", () => {
  it("is private, answers its routes and refuses others", async () => {
    const runDir = join(root, "control");
    const server = await serveControl(runDir, { "/status": () => ({ revision: 7n }) }, faults);
    try {
      expect((await stat(server.path)).mode & 0o777).toBe(0o600);
      expect(await askControl(runDir, "/status", soon())).toEqual({ revision: "7" });
      await expect(askControl(runDir, "/toString", soon())).rejects.toMatchObject({
        code: "TULLE_CONTROL",
        message: expect.stringContaining("of another version, without /toString; restart it"),
      });
      await expect(serveControl(runDir, {}, faults)).rejects.toMatchObject({ code: "TULLE_ALREADY_RUNNING" });
    } finally {
      await server.close();
    }
    await expect(askControl(runDir, "/status", soon())).rejects.toThrow("no daemon runs there");
  });

  it("says that a daemon is silent, and passes on what interrupts the question", async () => {
    const runDir = join(root, "silent");
    await mkdir(runDir);
    const silent = createServer(() => {}).listen(controlSocketPath(runDir));
    try {
      const limited = AbortSignal.any([new AbortController().signal, AbortSignal.timeout(50)]);
      await expect(askControl(runDir, "/status", limited)).rejects.toMatchObject({
        code: "TULLE_CONTROL",
        message: expect.stringContaining("is silent"),
      });
      const interrupted = AbortSignal.abort(new Error("stopped by SIGINT"));
      await expect(askControl(runDir, "/status", interrupted)).rejects.toThrow(/^stopped by SIGINT$/);
    } finally {
      silent.close();
    }
  });

  it("replaces what a killed daemon left", async () => {
    const runDir = join(root, "stale");
    const server = await serveControl(runDir, {}, faults);
    await server.close();
    await writeFile(controlSocketPath(runDir), "");
    await (await serveControl(runDir, {}, faults)).close();
  });
});

describe("instance lock", () => {
  it("is held once per device and free after release", async () => {
    const device = `flannel.${process.pid}`;
    const lock = await lockInstance(device);
    await expect(lockInstance(device)).rejects.toMatchObject({ code: "TULLE_ALREADY_RUNNING" });
    await expect(lockInstance(device, "do this")).rejects.toThrow(
      `another tulled manages ${device} in this network namespace: stop it, or do this`,
    );
    await (await lockInstance(`${device}0`)).release();
    await lock.release();
    await (await lockInstance(device)).release();
  });
});

describe("identity", () => {
  let counter = 0;
  const load = (stateDir: string) =>
    Identity.load({
      stateDir,
      log: silentLogger,
      randomBytes: (count) => new Uint8Array(count).fill(++counter),
    });

  it("outlives a restart, privately", async () => {
    const stateDir = join(root, "state");
    const first = await load(stateDir);
    await first.setInterfaceMac("02:00:00:00:00:01" as Mac);
    await first.setDeviceMac("flannel.1", "02:00:00:00:00:02" as Mac);
    const second = await load(stateDir);
    expect(second.nodeId).toBe(first.nodeId);
    expect(second.interfaceMac).toBe("02:00:00:00:00:01");
    expect(second.deviceMac("flannel.1")).toBe("02:00:00:00:00:02");
    expect((await stat(identityPath(stateDir))).mode & 0o777).toBe(0o600);
  });

  it("derives one MAC per VNI and family, unicast, the same each time", async () => {
    const identity = await load(join(root, "macs"));
    const macs = [
      identity.deviceMac("flannel.1"),
      identity.deviceMac("flannel.2"),
      identity.deviceMac("flannel-v6.1"),
    ];
    expect(new Set(macs).size).toBe(3);
    expect(macs.some(isMulticastMac)).toBe(false);
    expect(identity.deviceMac("flannel.1")).toBe(macs[0]);
  });

  it("becomes another host on request", async () => {
    const identity = await load(join(root, "clone"));
    const { nodeId } = identity;
    const mac = identity.deviceMac("flannel.1");
    await identity.renew();
    expect(identity.nodeId).not.toBe(nodeId);
    expect(identity.deviceMac("flannel.1")).not.toBe(mac);
  });

  it.each(["", "{", "[]", '{"nodeId":"x"}', '{"nodeId":"00","vtepMacs":{"flannel.1":"x"}}'])(
    "sets %j aside and starts with a new one",
    async (text) => {
      const stateDir = join(root, `broken${counter}`);
      await load(stateDir);
      await writeFile(identityPath(stateDir), text);
      const identity = await load(stateDir);
      expect(identity.nodeId).toMatch(/^[0-9a-f]{32}$/);
      expect(await readFile(`${identityPath(stateDir)}.broken`, "utf8")).toBe(text);
    },
  );

  it("names a state directory that cannot be used", async () => {
    const path = join(root, "file");
    await writeFile(path, "");
    await expect(load(path)).rejects.toMatchObject({ code: "TULLE_CONFIG" });
  });
});

describe("abstract sockets", () => {
  it("really are abstract: no file appears", async () => {
    const lock = await lockInstance("flannel.abstract-test");
    const server = createServer();
    const refused = new Promise((resolve) => server.once("error", resolve));
    server.listen("\0tulle/flannel.abstract-test");
    expect(await refused).toMatchObject({ code: "EADDRINUSE" });
    await lock.release();
  });
});
