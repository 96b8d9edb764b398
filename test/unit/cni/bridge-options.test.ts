/** What a delegate's configuration may ask of a bridge. */

import { expect, it } from "vitest";
import { parseBridgeOptions } from "../../../cni-plugin/config/bridge-options.ts";

it.each([
  ["a group address", "01:00:5e:00:00:01"],
  ["broadcast", "FF:FF:FF:FF:FF:FF"],
  ["all zero", "00:00:00:00:00:00"],
  ["a group address with hyphens", "03-00-00-00-00-01"],
])("rejects %s as a hardware address, from each source", (_, mac) => {
  const rejection = expect.objectContaining({
    cniCode: 7,
    message: expect.stringMatching(/^mac: "[0-9a-f:]+" is wrong; .*unicast/),
  });
  expect(() => parseBridgeOptions({ runtimeConfig: { mac } }, "")).toThrow(rejection);
  expect(() => parseBridgeOptions({ args: { cni: { mac } } }, "")).toThrow(rejection);
  expect(() => parseBridgeOptions({}, `MAC=${mac}`)).toThrow(rejection);
});

it("takes the hardware address of runtimeConfig before args, and args before CNI_ARGS", () => {
  const mac = (last: number) => `02:00:00:00:00:0${last}`;
  const args = { cni: { mac: mac(2) } };
  expect(parseBridgeOptions({ runtimeConfig: { mac: mac(1) }, args }, `MAC=${mac(3)}`).mac).toBe(mac(1));
  expect(parseBridgeOptions({ args }, `MAC=${mac(3)}`).mac).toBe(mac(2));
  expect(parseBridgeOptions({}, `MAC=${mac(3)}`).mac).toBe(mac(3));
  expect(parseBridgeOptions({}, "").mac).toBeNull();
});

it.each(["", "br%d", "a/b", ".", "1234567890123456", "brücke-überall"])("rejects the bridge %j", (bridge) => {
  const rejection = expect.objectContaining({ cniCode: 7, message: expect.stringMatching(/^bridge: /) });
  expect(() => parseBridgeOptions({ bridge }, "")).toThrow(rejection);
});
