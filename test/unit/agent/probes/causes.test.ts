import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CAUSES, type Case, judge } from "../../../../agent/probes/causes.ts";
import type { Evidence, Outcome } from "../../../../agent/probes/probe.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import type { LeaseKey } from "../../../../ipam/leases/lease.ts";

const YES: Outcome = { type: "answered", roundTripMs: 1 };
const NO: Outcome = { type: "silent" };
const failed = (text: string): Outcome => ({ type: "error", text });

const WELL: Evidence = { small: YES, full: YES, tcp: YES, outer: YES, passesBytes: null };
const SILENT: Evidence = { small: NO, full: NO, tcp: NO, outer: NO, passesBytes: null };
const NEVER = { inner: false, tcp: false, outer: false };
const ALWAYS = { inner: true, tcp: true, outer: true };

const CASE: Case = {
  target: {
    id: "10.2.54.0-24 IPv4",
    peer: "10.2.54.0-24" as LeaseKey,
    family: 4,
    path: "tunnel",
    subnet: Prefix.parse("10.2.54.0/24"),
    inner: Address.parse("10.2.54.0"),
    isInnerCertain: true,
    outer: Address.parse("192.168.1.242"),
    mtuBytes: 1450,
    tunnel: "UDP port 8472",
  },
  evidence: WELL,
  facts: { obstacle: null, isNeighbourSilent: false, hasReversePathDrops: false },
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
    [
      "path-diverted",
      { evidence: SILENT, facts: { ...CASE.facts, obstacle: "packets to 10.2.54.1 leave by eth1" } },
    ],
    ["no-route", { evidence: { ...SILENT, outer: failed("ENETUNREACH") } }],
    ["local-firewall", { evidence: { ...SILENT, small: failed("EPERM") } }],
    ["host-down", { evidence: SILENT, facts: { ...CASE.facts, isNeighbourSilent: true } }],
    ["host-unreachable", { evidence: { ...SILENT, outer: failed("host unreachable, says 192.168.1.1") } }],
    ["tunnel-filtered", { evidence: { ...SILENT, outer: YES } }],
    [
      "tunnel-filtered",
      { evidence: { ...SILENT, outer: YES }, before: { ...NEVER, outer: true }, elsewhere: NEVER },
    ],
    [
      "reverse-path-filter",
      { evidence: { ...SILENT, outer: YES }, facts: { ...CASE.facts, hasReversePathDrops: true } },
    ],
    ["large-packets-lost", { evidence: { ...WELL, full: NO, passesBytes: 1298 } }],
    ["tcp-lost", { evidence: { ...WELL, tcp: NO } }],
    ["never-answered", { evidence: SILENT, before: NEVER }],
  ])("%s", (expected, given) => {
    expect(code(given)).toBe(expected);
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
