/** Root folder of a Debian system with the newest container engines. Throws when it cannot be made. */
export function engineTree(): string;

/** Why no tree can be made here, in a few words; null when one can. */
export function treeObstacle(): string | null;
