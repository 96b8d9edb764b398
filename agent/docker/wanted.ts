/** Whether this host has a Docker that tulled is to serve. */

import { existsSync } from "node:fs";
import type { DockerSettings } from "../config/config.ts";

/** Where dockerd is installed by distributions and by Docker's own packages. */
const DOCKERD = [
  "/usr/bin/dockerd",
  "/usr/sbin/dockerd",
  "/usr/local/bin/dockerd",
  "/usr/local/sbin/dockerd",
];

/** Whether the driver is to be served on this host. */
export function isDockerWanted({ plugin, engineSocket }: DockerSettings): boolean {
  if (plugin !== "auto") return plugin === "on";
  return existsSync(engineSocket) || DOCKERD.some((path) => existsSync(path));
}
