/** The kernel's table of neighbours, which all namespaces of a machine share: here it may be filled. */

import { writeFileSync } from "node:fs";
import { beforeAll, it } from "vitest";
import { LAN_PREFIX } from "../../agent/demo/lab.ts";
import type { StatusReport } from "../../agent/report/status.ts";
import { startDaemon } from "../support/daemon.ts";
import { describeInGuest } from "../support/guest.ts";
import { useEtcdLab } from "../support/hosts.ts";

const MOST = 64;

/** Packets for addresses that nothing has, again and again: each waits in an entry of its own. */
const ASK_FOR_ALL = `
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for last in range(20, 250):
        try:
            s.sendto(b"", (f"{sys.argv[1]}.{last}", 9))
        except OSError:
            pass
    time.sleep(2)
`;

/** Of this machine: namespaces other than the first do not have the file. */
function setMost(most: number): void {
  for (const number of [1, 2, 3])
    writeFileSync(`/proc/sys/net/ipv4/neigh/default/gc_thresh${number}`, `${most}`);
}

function isNamed({ causes, problems }: StatusReport): boolean {
  const seen = new RegExp(`full \\(\\d+ of ${MOST} and .* refused since the start`);
  return (
    causes.some(({ code, text }) => code === "neighbours-full" && seen.test(text)) &&
    problems.some((problem) => problem.includes("(neighbours-full)"))
  );
}

describeInGuest("a table of neighbours that is full", () => {
  const net = useEtcdLab("full", {
    hosts: 2,
    config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
  });

  beforeAll(() => net.startAll());

  it("is named, as long as entries are refused", async () => {
    const { daemon, netns } = net.host(1);
    setMost(MOST);
    const filling = startDaemon("python3", ["-c", ASK_FOR_ALL, LAN_PREFIX], { netns });
    try {
      await daemon.until(isNamed, "names neighbours-full");
    } finally {
      await filling.kill();
      setMost(1024);
    }
    await daemon.until(
      ({ causes }) => causes.every(({ code }) => code !== "neighbours-full"),
      "no longer names neighbours-full",
    );
  });
});
