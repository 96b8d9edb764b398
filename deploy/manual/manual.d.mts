/** Writes manual pages and completions of the programs in `root` below `share`, which has the shape of /usr/share. */
export function writeManual(root: string, share: string): Promise<void>;
