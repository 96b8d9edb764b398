/**
 * docker-compose of Debian's development suite, a single program that talks to engines of any age: fetched once, and
 * installed nowhere.
 */

import { copyFileSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe } from "vitest";
import { fetchPackage } from "../../deploy/verify/foreign-packages.mjs";
import { describeWithDocker } from "./docker.ts";
import type { Engines } from "./engines.ts";

const PROGRAM = "usr/libexec/docker/cli-plugins/docker-compose";

/** As describeWithDocker; skipped, visibly, where docker-compose cannot be had, unless CI is set. */
export function describeWithCompose(name: string, body: (engines: Engines) => void): void {
  const obstacle = composeObstacle();
  if (obstacle === null) describeWithDocker(name, body);
  else if (process.env.CI) throw new Error(`"${name}" needs docker-compose: ${obstacle}`);
  else describe.skip(`${name} (no docker-compose: ${obstacle})`, () => undefined);
}

/** Puts the program where the systems of engines see it, and returns its path there; the caller deletes it. */
export function copyCompose(folder: string): string {
  if (!folder.startsWith(tmpdir())) throw new Error(`engines do not see ${folder}`);
  const path = join(folder, "docker-compose");
  copyFileSync(join(fetchPackage("sid", "docker-compose"), PROGRAM), path);
  return path;
}

function composeObstacle(): string | null {
  try {
    return existsSync(join(fetchPackage("sid", "docker-compose"), PROGRAM))
      ? null
      : `the package has no ${PROGRAM}`;
  } catch (error) {
    return String(error).split("\n")[0] ?? "";
  }
}
