export const NODE_VARIABLES: readonly string[];
export const LOADER_VARIABLES: readonly string[];
export const PROXY_VARIABLES: readonly string[];
export const BUN_PREFIXES: readonly string[];
/** The second line of a launcher for sh and Node at once; `node` is the interpreter as sh reads it. */
export function launchLine(node: string): string;
