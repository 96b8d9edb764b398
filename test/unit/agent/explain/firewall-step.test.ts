/** On what the outcome depends, of what is not tested. */

import { expect, it } from "vitest";
import { Steps } from "../../../../agent/explain/explanation.ts";
import { passDevices } from "../../../../agent/explain/firewall-step.ts";
import type { Scene } from "../../../../agent/explain/scene.ts";
import type { Link } from "../../../../backends/netlink/link/link.ts";

it.each([
  ["nft bridge theirs", ["the rules for frames of nft bridge theirs"]],
  // The sources of containers on named networks.
  ["nft bridge tulle-ports", []],
  ["nft bridge tulle-cni-0123456789abcdef", []],
])("says whether the outcome depends on the frames' rules of %s", (name, doubts) => {
  const steps = new Steps();
  const firewall = { tables: [], unknown: [], frames: [{ name, hook: "bridge", devices: null }] } as const;
  const kernel = { hasFilters: () => false };
  passDevices({ kernel, firewall, steps } as unknown as Scene, "ingress", [
    { name: "cni0", type: "bridge" } as unknown as Link,
  ]);
  expect(steps.doubts).toEqual(doubts);
  expect(steps.all).toHaveLength(1);
});
