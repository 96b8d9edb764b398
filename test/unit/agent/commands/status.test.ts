import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ControlServer, serveControl } from "../../../../agent/report/control.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { runCli, withoutStyles } from "../../../support/cli.ts";

let runDir: string;
let server: ControlServer | null;
beforeEach(async () => {
  runDir = await mkdtemp(join(tmpdir(), "tulle-status-"));
  server = null;
});
afterEach(async () => {
  await server?.close();
  await rm(runDir, { recursive: true });
});

async function status(answer: unknown, ...args: string[]) {
  const routes = { "/status": () => answer, "/summary": () => "no store" };
  server = await serveControl(runDir, routes, new Faults(silentLogger));
  return await runCli(["status", "-run-dir", runDir, ...args]);
}

const peer = (number: number) => ({
  key: `10.2.${number}.0-24`,
  publicAddress: `192.168.1.${number}`,
  path: "tunnel",
  isHeld: false,
});

const FIREWALL = {
  choice: "auto",
  engine: "iptables",
  isInSync: true,
  repairs: 0,
  lastRepair: null as object | null,
  undone: 0,
  lastError: null as string | null,
  note: null as string | null,
};

function report(changes: object = {}) {
  return {
    version: "1.2.3",
    isReady: true,
    store: "etcd 192.168.1.241:2379 /docker-test/network",
    interface: { name: "eth0", publicAddress: "192.168.1.242", reason: "-iface eth0" },
    network: { ranges: ["10.2.0.0/16"], backend: "vxlan" },
    lease: { key: "10.2.74.0-24", state: "held", reason: null, secondsLeft: 86_000 },
    devices: [{ name: "flannel.1", mtuBytes: 1450 }],
    peers: [peer(54), { ...peer(16), path: "direct", isHeld: true }],
    refused: [],
    kernel: {
      desiredObjects: 11,
      isConverged: true,
      passes: 7,
      lastPass: {
        atMs: systemClock.monotonicMs() - 90_000,
        durationMs: 3.21,
        applied: { route: 1 },
        repaired: {},
        failed: 0,
        wasDump: true,
      },
      repaired: { route: 2, link: 1 },
      failures: [],
      conflicts: [],
      contended: [],
    },
    firewall: FIREWALL,
    problems: [],
    blocking: [],
    ...changes,
  };
}

describe("tulle status", () => {
  it("shows handshake and bytes of peers that have sessions", async () => {
    const session = { handshakeAgeSeconds: 90, receivedBytes: 1234, sentBytes: 56 };
    const peers = [
      { ...peer(1), details: session },
      { ...peer(2), details: { ...session, handshakeAgeSeconds: null } },
      peer(3),
    ];
    const { out } = await status(report({ peers }), "--peers");
    expect(out).toMatch(/PEER +ADDRESS +PATH +HANDSHAKE +RECEIVED +SENT/);
    expect(out).toMatch(/10\.2\.1\.0-24 .* 1 min 30 s ago +1234 B +56 B/);
    expect(out).toMatch(/10\.2\.2\.0-24 .* none yet +1234 B/);
    expect(out).toMatch(/10\.2\.3\.0-24 +192\.168\.1\.3 +tunnel\n/);
  });

  it("shows what a ready daemon says", async () => {
    const { code, out, err } = await status(report());
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["state", "ready"],
      ["lease", "10.2.74.0-24, held, 23 h 53 min left"],
      ["network", "10.2.0.0/16 over vxlan"],
      ["interface", "eth0, 192.168.1.242 (-iface eth0)"],
      ["device", "flannel.1, MTU 1450"],
      ["store", "etcd 192.168.1.241:2379 /docker-test/network"],
      ["peers", "2 (1 without a tunnel, 1 vanished and kept for now)"],
      ["kernel", "11 objects, all as planned"],
      ["last pass", "1 min 30 s ago, 3.2 ms, route 1; 7 in all"],
      ["repaired", "route 2, link 1"],
      ["firewall", "iptables, all as planned"],
      ["version", "1.2.3"],
      [""],
      ["PEER", "ADDRESS", "PATH"],
      ["10.2.54.0-24", "192.168.1.54", "tunnel"],
      ["10.2.16.0-24", "192.168.1.16", "direct", "kept for now"],
      [""],
    ]);
  });

  it.each([
    [{ choice: "none", engine: null, isInSync: false }, "left alone"],
    [
      { engine: null, note: "neither nft nor iptables is installed" },
      "neither nft nor iptables is installed",
    ],
    [{ engine: null, isInSync: false }, "no engine yet"],
    [{ engine: "nft", isInSync: false }, "nft, not as planned"],
  ])("names the firewall's engine and state: %j", async (changes, text) => {
    const { out } = await status(report({ firewall: { ...FIREWALL, ...changes } }));
    expect(out).toMatch(new RegExp(`^firewall +${text}$`, "m"));
  });

  it("says how often firewall rules were repaired, and what was found the last time", async () => {
    const found = ["iptables table filter: chain FLANNEL-FWD is missing", "another"];
    const lastRepair = { atMs: systemClock.monotonicMs() - 90_000, found, by: "iptables" };
    const { out } = await status(report({ firewall: { ...FIREWALL, repairs: 3, lastRepair } }));
    expect(out).toContain(
      "repaired 3 times, last 1 min 30 s ago: iptables table filter: chain FLANNEL-FWD is missing (and 1 more), by iptables\n",
    );
  });

  it("passes the report on to programs", async () => {
    const sent = report();
    const { out } = await status(sent, "--json");
    expect(JSON.parse(out)).toEqual(sent);
  });

  it("is 1 while the daemon is not ready, and says why", async () => {
    const lease = { key: "10.2.74.0-24", state: "conflict", reason: "another host holds it", secondsLeft: 0 };
    const { code, out } = await status(report({ isReady: false, lease, problems: ["eth0 is gone"] }));
    expect(code).toBe(1);
    expect(out).toContain("not ready");
    expect(out).toContain("conflict: another host holds it");
    expect(out).toMatch(/problems\n {2}eth0 is gone\n$/);
  });

  it("is 1 before the network is joined", async () => {
    const { code, out } = await status(null);
    expect(code).toBe(1);
    expect(out).toBe("the daemon runs, but has not joined its network yet: no store\n");
  });

  it("shows what a data path in user space carried, and why it dropped packets", async () => {
    const traffic = {
      sent: { packets: 12, bytes: 3456 },
      received: { packets: 7, bytes: 890 },
      dropped: { unreachable: 3, forged: 0 },
      icmpErrors: { unreachable: 2 },
    };
    const { out } = await status(report({ traffic }));
    expect(out).toMatch(
      /^traffic +sent 12 packets, 3456 B; received 7 packets, 890 B; dropped unreachable 3; ICMP errors sent: unreachable 2$/m,
    );
  });

  it("shows no traffic where the kernel carries the packets", async () => {
    expect((await status(report())).out).not.toContain("traffic");
  });

  it("counts many peers and lists them on demand", async () => {
    const peers = Array.from({ length: 20 }, (_, number) => peer(number));
    const { out } = await status(report({ peers }));
    expect(out).toContain("and 4 more: --peers lists them");
    const all = await runCli(["status", "-run-dir", runDir, "--peers"]);
    expect(all.out).toContain("10.2.19.0-24");
    expect(all.out).not.toContain("more");
  });

  it("lists peers with a broken path first", async () => {
    const cause = { code: "host-down", scope: "peer", text: "is down", remedy: "start it", family: null };
    const health = {
      state: "bad",
      roundTripMs: null,
      lossShare: 1,
      measured: null,
      isAgentQuiet: false,
      cause,
    };
    const peers = Array.from({ length: 20 }, (_, number) =>
      number === 18 ? { ...peer(18), health } : peer(number),
    );
    const { out } = await status(report({ peers }));
    expect(out).toMatch(/^PEER.*\n10\.2\.18\.0-24 .*host-down/m);
  });

  it("is watched with the problems first, as far as the window has lines", async () => {
    const peers = Array.from({ length: 60 }, (_, number) => peer(number));
    const routes = { "/status": () => report({ peers, problems: ["eth0 is gone"] }) };
    server = await serveControl(runDir, routes, new Faults(silentLogger));
    const stop = new AbortController();
    const watched = runCli(["status", "-run-dir", runDir, "--watch", "--peers"], {
      ...{ isTty: true, signal: stop.signal },
      onOutput: () => stop.abort(),
    });
    const text = withoutStyles((await watched).out);
    expect(text).toContain("\x1b[Hproblems\x1b[K\n  eth0 is gone\x1b[K\n\x1b[K\nstate");
    expect(text.split("\n")).toHaveLength(24);
    expect(text).toMatch(/… \d+ more lines: enlarge the window/);
  });

  it.each<[string, () => Promise<{ code: number; out: string; err: string }>, RegExp]>([
    [
      "no daemon",
      () => runCli(["status", "--run-dir", runDir]),
      /no daemon runs there.*\[TULLE_CONTROL\]\n$/,
    ],
    ["another program", () => status({ hello: "world" }), /not a status.*\[TULLE_CODEC\]\n$/],
    ["a wrong flag", () => runCli(["status", "--run-dir", "run"]), /absolute path.*\[TULLE_CONFIG\]\n$/],
  ])("is 2 with one line for %s", async (_name, ask, message) => {
    const { code, out, err } = await ask();
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(message);
    expect(err.trim().split("\n")).toHaveLength(1);
  });

  it("is not watched as JSON", async () => {
    const { code, err } = await runCli(["status", "-run-dir", runDir, "--watch", "--json"], { isTty: true });
    expect(code).toBe(2);
    expect(err).toContain("leave one of them out");
  });
});
