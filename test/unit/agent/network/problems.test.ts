import { describe, expect, it } from "vitest";
import {
  detailProblems,
  isDevicePresent,
  isReady,
  type MemberDetails,
  type MemberState,
  memberProblems,
  membershipProblem,
} from "../../../../agent/network/problems.ts";

const HEALTHY: MemberState = {
  leaseKey: "10.2.7.0-24",
  lease: { state: "held", unpublished: null },
  rejection: null,
  obstacle: null,
  interface: null,
  config: null,
  subnetFile: null,
  runner: [],
  kernel: { trouble: null, failures: [], conflicts: [] },
  devices: ["flannel.1"],
  isProgrammed: true,
  firewallLock: null,
};

const QUIET: MemberDetails = {
  snapshot: { held: new Set(), rejected: new Map() },
  contended: [],
  firewall: {
    choice: "auto",
    engine: "nft",
    isInSync: true,
    repairs: 0,
    lastRepair: null,
    undone: 0,
    lastError: null,
    note: null,
  },
  host: [],
  faults: [],
  paths: [],
  causes: [],
  probing: null,
  hostRecords: null,
  fallback: [],
};

it("shows what is wrong beside the network, and causes by name, each bounded", () => {
  const many = Array.from({ length: 30 }, (_, index) => `path ${index}`);
  const texts = detailProblems({
    ...QUIET,
    host: ["Docker: no answer"],
    causes: many,
    probing: "no socket",
  }).map(({ text, isBlocking }) => `${text}${isBlocking ? " (blocking)" : ""}`);
  expect(texts).toEqual([
    ...many.slice(0, 20),
    "10 more causes of this kind",
    "Docker: no answer",
    "no socket",
  ]);
});

const failure = (key: string) => ({ key, message: `${key}: EPERM`, others: 0 });

describe("what keeps peers from sending to this host", () => {
  const conflict = { state: "conflict", conflict: "other host", reason: "taken", rival: null } as const;
  it.each<[string, Partial<MemberState>, RegExp | null]>([
    ["nothing", {}, null],
    ["another holder", { lease: conflict }, /another host holds its lease 10\.2\.7\.0-24$/],
    ["an older lease", { lease: { ...conflict, rival: "10.2.6.0-23" } }, /gave way to an older one$/],
    ["a rejection", { rejection: "its VNI 2 differs" }, /they reject its lease 10\.2\.7\.0-24$/],
    [
      "a deleted key",
      { lease: { state: "lost", reason: "deleted", isAbsent: true } },
      /is not in the store$/,
    ],
    ["no store: peers keep it", { lease: { state: "lost", reason: "ended", isAbsent: false } }, null],
  ])("%s", (_, changes, problem) => {
    const found = membershipProblem({ ...HEALTHY, ...changes });
    if (problem === null) expect(found).toBeNull();
    else expect(found).toMatch(problem);
  });
});

describe("a member's problems", () => {
  it("are none when nothing is wrong", () => {
    expect(memberProblems(HEALTHY)).toEqual([]);
    expect(detailProblems(QUIET)).toEqual([]);
    expect(isReady([])).toBe(true);
  });

  it.each<[string, Partial<MemberState>, RegExp]>([
    [
      "a lost lease",
      { lease: { state: "lost", reason: "expired", isAbsent: true } },
      /10\.2\.7\.0-24 is lost: expired/,
    ],
    [
      "another host's lease",
      { lease: { state: "conflict", conflict: "other host", reason: "192.168.1.9 has it", rival: null } },
      /is lost: 192\.168\.1\.9 has it/,
    ],
    [
      "an unpublished change",
      { lease: { state: "held", unpublished: "NOSPACE" } },
      /store does not hold.*NOSPACE/,
    ],
    ["a rejected lease", { rejection: "its public address is that of another" }, /peers reject our lease/],
    ["an unusable interface", { interface: "eth0 has no address" }, /eth0 has no address/],
    [
      "an unwritten subnet file",
      { subnetFile: { text: "no space left", isBlocking: true } },
      /no space left/,
    ],
    [
      "a device that the kernel rejects",
      { kernel: { trouble: null, failures: [failure("link flannel.1")], conflicts: [] } },
      /flannel\.1: EPERM/,
    ],
    [
      "a missing address",
      { kernel: { trouble: null, failures: [failure("address flannel.1 10.2.7.0/32")], conflicts: [] } },
      /EPERM/,
    ],
    [
      "a foreign device",
      {
        kernel: {
          trouble: null,
          failures: [],
          conflicts: [{ key: "link flannel.1", reason: "it is a bridge" }],
        },
      },
      /it is a bridge/,
    ],
    ["a start", { isProgrammed: false }, /not programmed yet/],
    [
      "a kernel that cannot be read at a start",
      { isProgrammed: false, kernel: { trouble: "EMFILE", failures: [], conflicts: [] } },
      /EMFILE/,
    ],
  ])("block readiness: %s", (_name, change, text) => {
    const problems = memberProblems({ ...HEALTHY, ...change });
    expect(problems.map((problem) => problem.text).join("\n")).toMatch(text);
    expect(isReady(problems)).toBe(false);
  });

  it.each<[string, Partial<MemberState>]>([
    ["a configuration that waits for a restart", { config: "Network changed" }],
    ["another daemon's firewall", { firewallLock: "another tulled keeps the firewall" }],
    [
      "a contended subnet file that is restored",
      { subnetFile: { text: "changed 3 times", isBlocking: false } },
    ],
    [
      "a peer that the kernel rejects",
      { kernel: { trouble: null, failures: [failure("route 10.2.8.0/24 0")], conflicts: [] } },
    ],
    [
      "a leftover device",
      { kernel: { trouble: null, failures: [failure("link flannel.9")], conflicts: [] } },
    ],
    [
      "a kernel that cannot be read for a moment",
      { kernel: { trouble: "EMFILE", failures: [], conflicts: [] } },
    ],
  ])("are shown without taking readiness away: %s", (_name, change) => {
    const problems = memberProblems({ ...HEALTHY, ...change });
    expect(problems).toHaveLength(1);
    expect(isReady(problems)).toBe(true);
  });

  it("list what never blocks", () => {
    const problems = detailProblems({
      ...QUIET,
      causes: ["the store has been out of reach for 5 s"],
      snapshot: {
        held: new Set(["10.2.8.0-24"]),
        rejected: new Map([["10.2.9.0-24", { key: "10.2.9.0-24", reason: "VNI 3" }]]),
      },
      paths: ["rule 5270 looks up table 52 before main"],
      firewall: {
        ...QUIET.firewall,
        undone: 3,
        lastRepair: { atMs: 1, found: ["chain is missing"], by: "nft" },
      },
    });
    expect(problems.map(({ text }) => text)).toEqual([
      "the store has been out of reach for 5 s",
      "rule 5270 looks up table 52 before main",
      "1 vanished peers are kept for now: the store may be at fault",
      "VNI 3",
      expect.stringContaining("undone 3 times"),
    ]);
    expect(isReady(problems)).toBe(true);
  });
});

describe("the tunnel device", () => {
  it("is there after a pass without trouble, whatever else failed", () => {
    expect(
      isDevicePresent({ trouble: null, failures: [failure("route 10.2.8.0/24 0")], conflicts: [] }, [
        "flannel.1",
      ]),
    ).toBe(true);
    expect(isDevicePresent({ trouble: "EMFILE", failures: [], conflicts: [] }, ["flannel.1"])).toBe(false);
    expect(
      isDevicePresent({ trouble: null, failures: [failure("link flannel.1")], conflicts: [] }, ["flannel.1"]),
    ).toBe(false);
  });
});
