/** Router advertisements (RFC 4861, 4.2), sent from a namespace. */

import type { TestNetns } from "./netns.ts";

export interface Advertisement {
  /** How long the sender shall be a default router; 0 for never. */
  readonly lifetimeSeconds: number;
  /** A /64 for addresses. */
  readonly prefix: string;
}

/** The kernel fills in the checksum of raw ICMPv6 sockets. Hop limit 255, as receivers demand. */
const SEND = `
  my ($index, $lifetime, $prefix) = @ARGV;
  socket(my $s, AF_INET6, SOCK_RAW, 58) or die $!;
  setsockopt($s, 41, 17, pack("i", $index)) or die $!;
  setsockopt($s, 41, 18, pack("i", 255)) or die $!;
  my $packet = pack("CCnCCnNN", 134, 0, 0, 64, 0, $lifetime, 0, 0)
    . pack("CCCCNNN", 3, 4, 64, 0xc0, 3600, 1800, 0) . inet_pton(AF_INET6, $prefix);
  send($s, $packet, 0, pack_sockaddr_in6(0, inet_pton(AF_INET6, "ff02::1"), $index)) or die $!;
`;

/** Sends one by `device`, which needs a link-local address that is no longer tentative. */
export function advertise(
  netns: TestNetns,
  device: string,
  { lifetimeSeconds, prefix }: Advertisement,
): void {
  const [link] = netns.ipJson(["link", "show", device]);
  netns.exec("perl", ["-MSocket=:all", "-e", SEND, String(link?.ifindex), String(lifetimeSeconds), prefix]);
}
