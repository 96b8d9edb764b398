/**
 * Named network namespaces, made with util-linux alone and kept where `ip netns` looks for them (ip-netns(8)).
 *
 * Nothing here touches the namespace that the process itself lives in.
 */

import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from "node:fs";
import { inNetwork } from "./network.ts";

const FOLDER = "/run/netns";

export interface Namespace {
  /** As `ip netns` lists it. */
  readonly name: string;
  /** The file that pins the namespace: pass it to setns or nsenter. */
  readonly path: string;
  /** Runs a program inside and returns its standard output; throws with its standard error when it fails. */
  exec(command: string, args: readonly string[]): string;
  /** Ends every program inside and removes the namespace; a second call does nothing. */
  dispose(): void;
}

/** Creates an empty namespace with its loopback up. Needs the privilege to administer networks. */
export function createNamespace(name: string): Namespace {
  const path = `${FOLDER}/${name}`;
  shareFolder();
  closeSync(openSync(path, "wx"));
  let isThere = true;
  const namespace: Namespace = {
    name,
    path,
    exec: (command, args) => runTool("nsenter", [`--net=${path}`, command, ...args]),
    dispose: () => {
      if (!isThere) return;
      isThere = false;
      endPrograms(path);
      // Lazy, because an open handle of the namespace keeps its file busy.
      runTool("umount", ["--lazy", path]);
      rmSync(path);
    },
  };
  try {
    runTool("unshare", [`--net=${path}`, "sh", "-c", ":"]);
  } catch (error) {
    rmSync(path);
    throw error;
  }
  inNetwork(path, (network) => network.setLink("lo", { isUp: true }));
  return namespace;
}

/** The folder is a shared mount, so that a namespace that is removed here is removed in every mount namespace. */
function shareFolder(): void {
  mkdirSync(FOLDER, { recursive: true });
  // proc_pid_mountinfo(5): the fifth field is the mount point.
  const isMounted = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[4] === FOLDER);
  if (!isMounted) runTool("mount", ["--bind", "--make-shared", FOLDER, FOLDER]);
}

/** Kills every program inside: one would keep the namespace alive after its name is gone. */
export function endPrograms(path: string): void {
  const link = `net:[${statSync(path).ino}]`;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) === link) process.kill(Number(pid), "SIGKILL");
    } catch (error) {
      // Ended meanwhile, or of another user and therefore not inside.
      const { code = "" } = error as NodeJS.ErrnoException;
      if (!["ENOENT", "ESRCH", "EACCES", "EPERM"].includes(code)) throw error;
    }
  }
}

/** Runs a program to its end and returns its standard output; throws with its standard error when it fails. */
export function runTool(command: string, args: readonly string[], input = ""): string {
  return execFileSync(command, args, { input, encoding: "utf8", stdio: "pipe", maxBuffer: 1 << 28 });
}
