/** A folder that holds only chosen programs: how a test takes tools away from a host without touching the host. */

import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

export interface Toolbox {
  /** Put before a command, it makes the folder all of the command's PATH. */
  readonly prefix: readonly string[];
  /** Adds a program, optionally under another name than its own. */
  add(name: string, program?: string): void;
  /** Adds a shell script. */
  write(name: string, script: string): void;
  take(name: string): void;
  dispose(): void;
}

/** A folder with `sh` and `cat`, which every system has, and with `programs`. `variables` go into the environment. */
export function createToolbox(programs: readonly string[], variables: readonly string[] = []): Toolbox {
  const folder = mkdtempSync(join(tmpdir(), "tulle-tools-"));
  const add = (name: string, program = name): void => symlinkSync(locate(program), join(folder, name));
  for (const name of ["sh", "cat", ...programs]) add(name);
  return {
    prefix: ["env", ...variables, `PATH=${folder}`],
    add,
    write: (name, script) => writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 }),
    take: (name) => rmSync(join(folder, name)),
    dispose: () => rmSync(folder, { recursive: true }),
  };
}

/** The path of a program of this machine. */
export function locate(program: string): string {
  const path = FOLDERS.map((folder) => join(folder, program)).find((each) => existsSync(each));
  if (path === undefined) throw new Error(`${program} is needed for this test and is not installed`);
  return path;
}
