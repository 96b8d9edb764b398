/** A process that creates a TUN device and prints why it cannot. */

import process from "node:process";
import { createTun } from "../../backends/netlink/tun-file.ts";

try {
  createTun("tulle-probe0");
} catch (error) {
  process.stdout.write(String(error));
}
