import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CAUSES, type Case, judge, type LocalFacts } from "../../../../agent/probes/causes.ts";
import type { Evidence, Outcome } from "../../../../agent/probes/probe.ts";
import type { TunnelEvidence } from "../../../../agent/probes/tunnel-watch.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { TARGET } from "./target-fixture.ts";

const YES: Outcome = { type: "answered", roundTripMs: 1 };
const NO: Outcome = { type: "silent" };
const failed = (text: string): Outcome => ({ type: "error", text });

const REST = { syn: null, isLossy: false, passesBytes: null };
const WELL: Evidence = { small: YES, full: YES, tcp: YES, outer: YES, ...REST };
const SILENT: Evidence = { small: NO, full: NO, tcp: NO, outer: NO, ...REST };
const NEVER = { inner: false, tcp: false, outer: false };
const ALWAYS = { inner: true, tcp: true, outer: true };

const FACTS: LocalFacts = {
  link: { name: "eth0", problem: null },
  obstacle: null,
  neighbour: "unknown",
  neighbourMac: null,
  neighbourRefusals: 0,
  reversePathDrops: 0,
  checksumErrors: 0,
  tunnel: null,
};
/** What is seen of a tunnel that is silent for no reason that shows. */
const SEEN: TunnelEvidence = {
  sent: 6,
  received: 0,
  answers: 0,
  flows: 0,
  mismatch: null,
  otherSource: null,
  macs: ["52:54:00:00:00:01"],
  rejection: null,
};
const facts = (given: Partial<LocalFacts>): LocalFacts => ({ ...FACTS, ...given });
const seen = (given: Partial<TunnelEvidence>): LocalFacts => facts({ tunnel: { ...SEEN, ...given } });
/** The peer answers beside the tunnel. */
const BESIDE: Evidence = { ...SILENT, outer: YES };

const CASE: Case = {
  target: TARGET,
  evidence: WELL,
  facts: FACTS,
  before: ALWAYS,
  elsewhere: ALWAYS,
};
const code = (given: Partial<Case>): string | null => judge({ ...CASE, ...given })?.code ?? null;

describe("a healthy path", () => {
  it.each<[string, Partial<Case>]>([
    ["answers everything", {}],
    ["answers through the tunnel, and no pings beside it", { evidence: { ...WELL, outer: NO } }],
    ["answers TCP only", { evidence: { ...SILENT, tcp: YES } }],
    [
      "never answered TCP, as none here does",
      { evidence: { ...WELL, tcp: NO }, before: NEVER, elsewhere: NEVER },
    ],
    [
      "is of a peer whose firewall never answered TCP",
      { evidence: { ...WELL, tcp: NO, syn: NO }, before: { ...ALWAYS, tcp: false } },
    ],
    [
      "loses small packets as well as large ones: what is lost is counted elsewhere",
      { evidence: { ...WELL, full: NO, isLossy: true } },
    ],
    [
      "answers no probes any more, but its connections go on",
      { evidence: BESIDE, facts: seen({ received: 9, flows: 9 }) },
    ],
    [
      "is of a peer without containers, which has no address inside",
      {
        evidence: { ...SILENT, outer: YES },
        before: { ...NEVER, outer: true },
        target: { ...CASE.target, isInnerCertain: false },
      },
    ],
    [
      "is silent where nothing ever answered: pings are filtered",
      {
        evidence: SILENT,
        before: NEVER,
        elsewhere: NEVER,
      },
    ],
  ])("%s", (_, given) => {
    expect(code(given)).toBeNull();
  });
});

describe("a broken path", () => {
  it.each<[string, Partial<Case>]>([
    ["interface-down", { evidence: SILENT, facts: facts({ link: { name: "eth0", problem: "is down" } }) }],
    [
      "path-diverted",
      {
        evidence: SILENT,
        facts: facts({ obstacle: { text: "packets to 10.2.54.1 leave by eth1", isMissingRoute: false } }),
      },
    ],
    ["path-diverted", { evidence: SILENT, facts: { ...seen({}), neighbourMac: "52:54:00:00:00:99" } }],
    [
      "no-route",
      {
        evidence: SILENT,
        facts: facts({ obstacle: { text: "packets to 192.168.1.242 have no route", isMissingRoute: true } }),
      },
    ],
    ["no-route", { evidence: { ...SILENT, outer: failed("ENETUNREACH") } }],
    ["local-firewall", { evidence: { ...SILENT, small: failed("EPERM") } }],
    ["neighbours-full", { evidence: SILENT, facts: { ...seen({ sent: 0 }), neighbourRefusals: 4 } }],
    ["local-firewall", { evidence: BESIDE, facts: seen({ received: 6, answers: 6 }) }],
    ["local-firewall", { evidence: BESIDE, facts: seen({ sent: 0 }) }],
    ["host-down", { evidence: SILENT, facts: facts({ neighbour: "silent" }) }],
    ["host-unreachable", { evidence: { ...SILENT, outer: failed("host unreachable, says 192.168.1.1") } }],
    ["tunnel-filtered", { evidence: BESIDE }],
    ["tunnel-filtered", { evidence: BESIDE, before: { ...NEVER, outer: true }, elsewhere: NEVER }],
    [
      "tunnel-filtered",
      { evidence: SILENT, before: { ...ALWAYS, outer: false }, facts: facts({ neighbour: "answers" }) },
    ],
    [
      "tunnel-filtered",
      {
        evidence: BESIDE,
        facts: seen({
          rejection: { from: Address.parse("192.168.1.1"), text: "prohibited by an administrator" },
        }),
      },
    ],
    [
      "host-unreachable",
      {
        evidence: SILENT,
        facts: seen({ rejection: { from: Address.parse("192.168.1.1"), text: "host unreachable" } }),
      },
    ],
    ["host-down", { evidence: SILENT, facts: { ...seen({ sent: 0, macs: [] }), neighbour: "silent" } }],
    [
      "tunnel-absent",
      { evidence: BESIDE, facts: seen({ rejection: { from: CASE.target.outer, text: "port unreachable" } }) },
    ],
    ["tunnel-mismatch", { evidence: BESIDE, facts: seen({ mismatch: "VNI 2 instead of 1" }) }],
    ["wrong-address", { evidence: BESIDE, facts: seen({ otherSource: Address.parse("192.168.1.77") }) }],
    [
      "wrong-address",
      { evidence: BESIDE, facts: seen({ macs: ["52:54:00:00:00:01", "52:54:00:00:00:02"] }) },
    ],
    ["reverse-path-filter", { evidence: SILENT, facts: facts({ reversePathDrops: 4 }) }],
    ["large-packets-lost", { evidence: { ...WELL, full: NO, passesBytes: 1298 } }],
    ["checksum-broken", { evidence: { ...WELL, tcp: NO, syn: YES } }],
    ["checksum-broken", { evidence: { ...WELL, tcp: NO, syn: YES }, facts: facts({ checksumErrors: 4 }) }],
    ["tcp-lost", { evidence: { ...WELL, tcp: NO, syn: NO } }],
    ["never-answered", { evidence: SILENT, before: NEVER }],
  ])("%s", (expected, given) => {
    expect(code(given)).toBe(expected);
  });

  it("tells the direction where both are seen", () => {
    const direction = (given: Partial<Case>) => judge({ ...CASE, ...given })?.direction;
    expect(direction({ evidence: BESIDE, facts: seen({ received: 3 }) })).toBe("to peer");
    expect(direction({ evidence: BESIDE, facts: seen({}) })).toBeUndefined();
    expect(direction({ evidence: BESIDE, facts: seen({ received: 3, answers: 3 }) })).toBe("from peer");
    expect(direction({ evidence: { ...WELL, tcp: NO, syn: YES } })).toBe("to peer");
  });

  it("does not blame this host for packets that WireGuard does not send between handshakes", () => {
    const target = { ...CASE.target, tunnelKind: { port: 51820, format: "opaque" } } as const;
    expect(code({ evidence: BESIDE, facts: seen({ sent: 0 }), target })).toBe("tunnel-filtered");
  });

  it("says what passes, where the peer answers, and what the network reports", () => {
    const text = (given: Partial<Case>): string => judge({ ...CASE, ...given })?.text ?? "";
    expect(text({ evidence: { ...WELL, full: NO, passesBytes: 1298 } })).toBe(
      "loses packets of 1450 bytes, but not small ones; 1298 bytes pass",
    );
    expect(text({ evidence: { ...SILENT, outer: YES } })).toBe(
      "answers at 192.168.1.242, but no longer through the tunnel (UDP port 8472)",
    );
    expect(text({ evidence: { ...SILENT, outer: failed("host unreachable, says 192.168.1.1") } })).toContain(
      "(host unreachable, says 192.168.1.1)",
    );
  });
});

it("docs/troubleshooting.md has a paragraph for each cause, and for no other", () => {
  const text = readFileSync(new URL("../../../../docs/troubleshooting.md", import.meta.url), "utf8");
  const documented = [...text.matchAll(/^#### `([a-z-]+)`$/gm)].map(([, name]) => name);
  expect(documented.sort()).toEqual(Object.keys(CAUSES).sort());
});
