/** Where dockerd looks for drivers (docs.docker.com, "Docker Plugin API", plugin discovery). Reads files, writes none. */

import { basename, dirname, join } from "node:path";
import { readOwnFile } from "../../ipam/files/read.ts";

/** Of sockets: NAME.sock, or NAME/NAME.sock. */
export const PLUGIN_FOLDER = "/run/docker/plugins";
/** Of files with the address of a socket elsewhere. */
const SPEC_FOLDERS = ["/etc/docker/plugins", "/usr/lib/docker/plugins"];

/** Whether dockerd finds a driver by this socket. Throws ConflictError, and what the file system throws. */
export function isPluginFound(socket: string, specFolders: readonly string[] = SPEC_FOLDERS): boolean {
  const name = basename(socket, ".sock");
  const places = [PLUGIN_FOLDER, join(PLUGIN_FOLDER, name)];
  // /var/run is a symbolic link to /run.
  if (places.includes(dirname(socket).replace(/^\/var\/run\//, "/run/"))) return true;
  return specFolders.some((folder) => {
    const text = readOwnFile(join(folder, `${name}.spec`)) ?? "";
    return text.trim() === `unix://${socket}`;
  });
}
