import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { receivedPackets } from "../../../../agent/host/received-packets.ts";

const folder = mkdtempSync(join(tmpdir(), "tulle-received-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TABLE = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    8192      64    0    0    0     0          0         0     8192      64    0    0    0     0       0          0
flannel.1: 123456     789    0    0    0     0          0         0    99999     777    0    3    0     0       0          0
a:b:       11      22    0    0    0     0          0         0        0       0    0    0    0     0       0          0
`;

it.each([
  [["flannel.1"], 789],
  [["flannel.1", "lo"], 853],
  [["a:b"], 22],
  [["flannel"], 0],
  [[], 0],
])("counts what %j received", (devices, packets) => {
  const file = join(folder, "dev");
  writeFileSync(file, TABLE);
  expect(receivedPackets(devices, file)).toBe(packets);
});

it("reads this namespace's devices", () => {
  expect(receivedPackets(["lo"])).toBeGreaterThanOrEqual(0);
});

it("has no count where the table cannot be read", () => {
  expect(receivedPackets(["lo"], "/proc/self/no-such-table")).toBeNull();
});
