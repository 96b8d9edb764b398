/** A peer with a path for each family. */

import { expect, it } from "vitest";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { LossyNetwork } from "./lossy-network.ts";
import { TARGET } from "./target-fixture.ts";

const SECOND = { ...TARGET, id: "10.2.54.0-24 IPv6", inner: Address.parse("10.2.55.0") };

it("is good once every path has answered, and not while one is unproven", async () => {
  const network = new LossyNetwork(1, [TARGET, SECOND], SECOND.inner);
  await network.pass(2);
  expect(network.health).toMatchObject({ state: "unknown", cause: null });
  network.silent = null;
  await network.pass(30);
  expect(network.health).toMatchObject({ state: "good", cause: null });
  network.stop();
});
