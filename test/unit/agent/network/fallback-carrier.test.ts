/** Which networks can have a fall-back. */

import { expect, it } from "vitest";
import { requireFallback } from "../../../../agent/network/fallback-carrier.ts";
import { network } from "../../../support/lease-fixture.ts";

const config = (Backend: object) => network(JSON.stringify({ Network: "10.2.0.0/16", Backend }));

it.each(["vxlan", "host-gw", "ipip"])("%s can", (Type) => {
  expect(() => requireFallback(config({ Type }))).not.toThrow();
});

it.each([
  ["wireguard", /^--fallback udp: .* wireguard encrypts, .* not encrypted; remove --fallback$/],
  ["udp", /^--fallback udp: the network's backend is udp itself; remove --fallback$/],
  ["alloc", /^--fallback udp: other programs carry .* alloc; remove --fallback$/],
  ["extension", /^--fallback udp: other programs carry .* extension; remove --fallback$/],
])("%s cannot", (Type, message) => {
  expect(() => requireFallback(config({ Type }))).toThrow(message);
});
