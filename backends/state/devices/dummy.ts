/** Dummy devices (drivers/net/dummy.c): they carry addresses of the host itself, and no packets. */

import type { DeviceType } from "../contract/device-type.ts";

export interface DummyDetails {
  readonly type: "dummy";
}

export const dummyDevice: DeviceType<DummyDetails> = {
  type: "dummy",
  isSame: () => true,
  needsRecreation: () => false,
  obstacle: () => null,
  exclusiveResource: () => null,
  describe: () => "",
  encodeNew: () => ({ kind: "dummy" }),
  encodeChange: () => ({ kind: "dummy" }),
  decode: ({ type }) => (type === "dummy" ? { type } : null),
  extras: ({ masterIndex }) => (masterIndex === null ? [] : ["master"]),
};
