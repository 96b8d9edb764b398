/** What tulled and tulle-netavark have in common, though neither imports the other. */

import { expect, it } from "vitest";
import { NAME_SERVER } from "../../../../agent/names/name-server-address.ts";
import { netavarkMethods, netavarkSocketPath } from "../../../../agent/netavark/plugin-calls.ts";
import { type Method, socketPath } from "../../../../cni-plugin/netavark/daemon.ts";
import * as outside from "../../../../cni-plugin/netavark/outside.ts";
import { OUTSIDE } from "../../../../ipam/containers/outside.ts";

it("is the name server, the socket and the methods", () => {
  expect(`${outside.NAME_SERVER}`).toBe(`${NAME_SERVER}/32`);
  expect(OUTSIDE.subnets[4].contains(NAME_SERVER)).toBe(false);
  expect(socketPath("/run/tulle")).toBe(netavarkSocketPath("/run/tulle"));
  const methods: readonly Method[] = ["Network", "Setup", "Teardown"];
  const served = Object.keys(netavarkMethods(async () => null));
  expect(served).toEqual(methods.map((method) => `Netavark.${method}`));
});
