/** A script for BootedHost.boot(): installs the build and the units as a package does. */

import { join } from "node:path";
import { PROGRAMS } from "./programs.ts";

const DEPLOY = join(import.meta.dirname, "../../deploy");

/** @param options of the service, in one line */
export function installService(options: string): string {
  return `
mkdir -p usr/lib/tulle etc/docker etc/default var/lib/tulle etc/systemd/system/tulled.service.d
cp -r "${PROGRAMS}/.." -T usr/lib/tulle
for name in tulled tulle; do ln -sf /usr/lib/tulle/bin/$name usr/bin/$name; done
cp -r "${DEPLOY}/systemd/." usr/lib/systemd/system/
echo 'TULLED_OPTIONS=${options}' > etc/default/tulled
`;
}
