/** Product files read and write files through ipam/files/ only; the exceptions are listed here with their reason. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

const PROC = "reads or writes /proc and /sys";
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "ipam/files/read.ts": "the one reader",
  "ipam/files/write.ts": "the one writer",
  "ipam/files/draft.ts": "the one writer",
  "ipam/files/sync.ts": "opens folders for fsync(2)",
  "ipam/clock.ts": PROC,
  "ipam/stores/file/store.ts": PROC,
  "agent/doctor/examine.ts": PROC,
  "agent/host/other-programs.ts": PROC,
  "agent/probes/kernel-counters.ts": PROC,
  "agent/host/privilege.ts": PROC,
  "agent/report/private-socket.ts": PROC,
  "agent/report/program-pages.ts": PROC,
  "agent/host/received-packets.ts": PROC,
  "agent/host/instance-lock.ts": PROC,
  "backends/kernel/sysctl.ts": PROC,
  "backends/kernel/rtnetlink-port.ts": PROC,
  "backends/firewall/kernel-facts.ts": PROC,
  "backends/attachment/bridge.ts": PROC,
  "backends/attachment/mac.ts": PROC,
  "backends/attachment/sysctl.ts": PROC,
  "cni-plugin/host/addresses.ts": PROC,
  "cni-plugin/host/process.ts": "reads standard input",
  "agent/bug-report/archive.ts": "streams into a new file that a person asked for",
  "agent/commands/net.ts": "reads what a person gives, which may be a pipe",
  "agent/demo/lab.ts": "works in a private folder that mkdtemp made",
  "agent/demo/daemon.ts": "works in a private folder that mkdtemp made",
  "agent/demo/launch.ts": PROC,
  "agent/demo/namespace.ts": "makes mount points in /run/netns and reads /proc",
};

const FILE_CALL =
  /\b(?:read|write|append|copy|cp)File(?:Sync)?\b|\bopenSync\b|\bopenAsBlob\b|\bcreate(?:Read|Write)Stream\b|\{[^}]*\bopen\b[^}]*\} from "node:fs\/promises"/;

function productFiles(): readonly string[] {
  return ["agent", "backends", "cni-plugin", "ipam"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => join(folder, name)),
  );
}

it("touches files in one place", () => {
  const direct = productFiles().filter((file) => FILE_CALL.test(readFileSync(join(root, file), "utf8")));
  expect(direct.filter((file) => !(file in EXCEPTIONS))).toEqual([]);
});
