/**
 * Runs a command in a virtual machine whose kernel has what this machine's may lack (WireGuard, IPIP, netem, VRF):
 *
 *     node deploy/verify/guest/main.mjs [--share FOLDER] -- COMMAND [ARG …]
 *
 * The guest sees this machine's files read-only, with a memory file system on top; only /share is written through, to
 * FOLDER. It has no network. Output and exit code are the command's. Software emulation only (QEMU's TCG): a command
 * takes five to ten times as long as on the machine.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { exitOnSignals, inTemporaryFolder, withCleanup } from "../../cleanup.mjs";
import { guestImage } from "./image.mjs";

const MEMORY_MIB = 3072;
const TIME_LIMIT_MS = 40 * 60_000;
const EXIT_FILE = "exit-code";

const separator = process.argv.indexOf("--");
const options = process.argv.slice(2, separator);
const command = process.argv.slice(separator + 1);
if (separator < 0 || command.length === 0) {
  console.error("usage: node deploy/verify/guest/main.mjs [--share FOLDER] -- COMMAND [ARG …]");
  process.exit(2);
}
exitOnSignals();
const runHere = (folder) => runInGuest(command, folder);
process.exitCode = await (options[0] === "--share"
  ? runHere(options[1])
  : inTemporaryFolder("tulle-guest-", runHere));

async function runInGuest(words, folder) {
  const image = guestImage();
  writeFileSync(path.join(folder, "settings"), `MODULES=${quote(image.modules)}\n`);
  writeFileSync(path.join(folder, "job"), jobScript(words));
  await boot(image, folder);
  return readExitCode(folder);
}

/** What the guest's first shell runs: a bare host, then the command, then power off. */
function jobScript(words) {
  const keep = ["CI", "PATH", "HOME"].filter((name) => process.env[name] !== undefined);
  return [
    "stty -F /dev/ttyS0 -opost",
    "ip link set lo up",
    "mount -t cgroup2 cgroup /sys/fs/cgroup",
    "mkdir -p /dev/pts /run/lock && mount -t devpts devpts /dev/pts",
    "ln -s /proc/self/fd /dev/fd",
    ...["stdin", "stdout", "stderr"].map((name, fd) => `ln -s fd/${fd} /dev/${name}`),
    ...keep.map((name) => `export ${name}=${quote(process.env[name])}`),
    "export TULLE_GUEST=1",
    `cd ${quote(process.cwd())}`,
    // Through a pipe: programs must not take the serial line for a terminal.
    `{ ${words.map(quote).join(" ")}; echo $? > /share/${EXIT_FILE}; } 2>&1 | cat`,
    "sync",
    "/bin/busybox poweroff -f",
    "",
  ].join("\n");
}

async function boot({ kernel, initramfs }, folder) {
  const share = (tag, from, more) => [
    "-fsdev",
    `local,id=${tag},path=${from},security_model=none,multidevs=remap${more}`,
    "-device",
    `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`,
  ];
  const args = [
    ...["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", `${MEMORY_MIB}`],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"],
    ...["-kernel", kernel, "-initrd", initramfs, "-append", "console=ttyS0 quiet panic=-1"],
    ...share("machine", "/", ",readonly=on"),
    ...share("share", folder, ""),
    ...["-device", "virtio-rng-pci"],
  ];
  const guest = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "inherit", "inherit"] });
  const end = () => guest.kill("SIGKILL");
  const limit = setTimeout(end, TIME_LIMIT_MS);
  await withCleanup(end, () => once(guest, "close")).finally(() => clearTimeout(limit));
}

/** The guest's word for it; a guest that died says nothing, which is a failure. */
function readExitCode(folder) {
  try {
    return Number.parseInt(readFileSync(path.join(folder, EXIT_FILE), "utf8"), 10);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
    console.error("the guest ended before its command did");
    return 1;
  }
}

/** A word for sh, see sh(1). */
function quote(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
