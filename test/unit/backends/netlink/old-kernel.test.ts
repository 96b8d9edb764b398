/** A kernel that lacks a socket option, injected: this one has them all. */

import { expect, it, vi } from "vitest";
import { NetlinkError } from "../../../../backends/netlink/errors.ts";
import { NetlinkSocket } from "../../../../backends/netlink/socket.ts";

const ENOPROTOOPT = 92;
const NETLINK_GET_STRICT_CHK = 12;

vi.mock(import("../../../../backends/netlink/libc.ts"), async (original) => {
  const libc = await original();
  const setIntOption: typeof libc.setIntOption = (fd, level, name, value) =>
    name === NETLINK_GET_STRICT_CHK ? -ENOPROTOOPT : libc.setIntOption(fd, level, name, value);
  return { ...libc, setIntOption };
});

it("is named with the version that has the option", () => {
  expect(() => NetlinkSocket.open()).toThrow(NetlinkError);
  expect(() => NetlinkSocket.open()).toThrow(/^NETLINK_GET_STRICT_CHK: ENOPROTOOPT .*Linux 4\.20 or newer/);
});
