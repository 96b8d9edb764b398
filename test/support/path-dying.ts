/**
 * A thread of the data path that ends at its first start as one does that has no memory left: nothing of it runs any more.
 * At later starts it is the real one.
 */

import { existsSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { workerData } from "node:worker_threads";
import type { PathSettings } from "../../backends/datapath/messages.ts";
import { openPathFiles } from "../../backends/datapath/path-files.ts";
import { NetnsHandle, withNetns } from "../../backends/netlink/netns.ts";

const died = `${fileURLToPath(import.meta.url)}.died`;
const { device, listeners, kept, port, netns } = workerData as PathSettings;

if (existsSync(died)) await import("../../backends/datapath/worker.ts");
else {
  writeFileSync(died, "");
  const handle = NetnsHandle.open(netns ?? "/proc/self/ns/net");
  const { tun, sockets } = withNetns(handle, () => openPathFiles(device, listeners, kept));
  handle.close();
  port.postMessage({ type: "files", files: [tun, ...sockets] });
  port.postMessage({ type: "problem", problem: null });
  process.exit(1);
}
