/** What is said of a firewall that cannot be read, as without root. */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Steps } from "../../../../agent/explain/explanation.ts";
import { readFirewall } from "../../../../agent/explain/firewall/read-ruleset.ts";
import { MtuPath } from "../../../../agent/explain/mtu-path.ts";
import type { Scene } from "../../../../agent/explain/scene.ts";
import { explain } from "../../../../agent/explain/way.ts";
import { CommandRunner } from "../../../../backends/firewall/command.ts";
import { RTN_LOCAL } from "../../../../backends/netlink/route.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";

it("names the tools that fail, and does not call them missing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tulle-tools-"));
  for (const name of ["nft", "iptables-save", "ip6tables-save"]) {
    writeFileSync(join(folder, name), `#!/bin/sh\necho "you must be root" >&2\nexit 4\n`);
    chmodSync(join(folder, name), 0o755);
  }
  try {
    const { unknown } = await readFirewall(
      new CommandRunner([], `${folder}:/usr/lib/nowhere`),
      AbortSignal.timeout(10_000),
    );
    expect(new Set(unknown)).toEqual(
      new Set(["nft", "iptables-save", "ip6tables-save"].map((name) => `${name} failed: you must be root`)),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("says in the end that its rules may change the outcome", () => {
  const destination = Address.parse("127.0.0.1");
  const route = { type: RTN_LOCAL, table: 255, destination: Prefix.parse("127.0.0.1/32") };
  const path = { source: destination, outputIndex: 1, gateway: null };
  const kernel = {
    lookup: () => ({ type: "route", route, path }),
    link: () => null,
    rules: () => [],
    linkNamed: () => null,
  };
  const unread = {
    tables: [],
    frames: [],
    unknown: ["nft failed: you must be root", "iptables-save failed"],
  };
  const scene = { kernel, firewall: unread, knowledge: { problem: null }, steps: new Steps() };
  const request = { origin: null, destination, protocol: "icmp", destinationPort: null } as const;
  const { end, doubts } = explain(
    { ...scene, ipsec: [], mtu: new MtuPath(), readSysctl: () => null } as unknown as Scene,
    request,
  );
  expect(doubts).toEqual(["rules of the firewall that could not be read"]);
  expect(end.text).toBe(
    "the packet reaches this host, which has 127.0.0.1; unless this changes it: rules of the firewall that could not be read",
  );
});
