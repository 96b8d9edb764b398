/** Folder that holds the package's files (`usr/bin/…`). Throws with apt's words when it cannot be had. */
export function fetchPackage(suite: string, name: string): string;

/** The same for several packages of an architecture; each folder also has the package's `DEBIAN/control`. */
export function fetchPackages(
  suite: string,
  names: readonly string[],
  architecture: string,
): readonly string[];
