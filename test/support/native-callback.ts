/** A process whose native callback throws; prints what it catches, and ends after a garbage collection. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { watchReadable } from "../../backends/netlink/libc.ts";

const caught = new Promise<Error>((resolve) => process.once("uncaughtException", resolve));
const folder = mkdtempSync(join(tmpdir(), "tulle-native-"));
execFileSync("mkfifo", [join(folder, "fifo")]);
const descriptor = openSync(join(folder, "fifo"), "r+");
rmSync(folder, { recursive: true });
writeSync(descriptor, "x");
const watch = watchReadable(descriptor, () => {
  watch.close();
  throw new Error("from a native callback");
});
process.stdout.write((await caught).message);
for (let round = 0; round < 5; round++) {
  globalThis.gc?.();
  await sleep(10);
}
process.exit(0);
