/**
 * A process without a free file descriptor that listens and starts a program, for tests of what it does about EMFILE.
 *
 * Prints its port and the program's error. The first line on its standard input frees the descriptors again.
 */

import { closeSync, openSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createListener, text } from "../../agent/report/listener.ts";
import { CommandRunner } from "../../backends/firewall/command.ts";
import { Faults } from "../../ipam/faults.ts";
import { silentLogger } from "../../ipam/log.ts";

const faults = new Faults(silentLogger);
const server = createListener({ part: "the test", faults, answer: () => text(200, "served") });
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

const taken: number[] = [];
takeAll();
const failure = await new CommandRunner().run("true", []).catch((error: Error) => error.message);
// The runtime may have closed some of its own meanwhile.
takeAll();
process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port, failure })}\n`);

process.stdin.once("data", () => {
  for (const descriptor of taken) closeSync(descriptor);
  process.stdin.destroy();
});
function takeAll(): void {
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EMFILE") throw error;
  }
}
process.once("SIGTERM", () => process.exit(0));
