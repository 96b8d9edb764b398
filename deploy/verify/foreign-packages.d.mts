/** Folder that holds the package's files (`usr/bin/…`). Throws with apt's words when it cannot be had. */
export function fetchPackage(suite: string, name: string): string;
