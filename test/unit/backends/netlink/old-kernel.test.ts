/** A kernel that lacks a socket option, injected: this one has them all. */

import { afterEach, beforeEach, expect, it, vi } from "vitest";

const ENOPROTOOPT = 92;
const NETLINK_GET_STRICT_CHK = 12;

// Files of this suite share their modules.
beforeEach(() => {
  vi.resetModules();
  vi.doMock(import("../../../../backends/netlink/libc.ts"), async (original) => {
    const libc = await original();
    const setIntOption: typeof libc.setIntOption = (fd, level, name, value) =>
      name === NETLINK_GET_STRICT_CHK ? -ENOPROTOOPT : libc.setIntOption(fd, level, name, value);
    return { ...libc, setIntOption };
  });
});
afterEach(() => {
  vi.doUnmock("../../../../backends/netlink/libc.ts");
  vi.resetModules();
});

it("is named with the version that has the option", async () => {
  const { NetlinkError } = await import("../../../../backends/netlink/errors.ts");
  const { NetlinkSocket } = await import("../../../../backends/netlink/socket.ts");
  expect(() => NetlinkSocket.open()).toThrow(NetlinkError);
  expect(() => NetlinkSocket.open()).toThrow(/^NETLINK_GET_STRICT_CHK: ENOPROTOOPT .*Linux 4\.20 or newer/);
});
