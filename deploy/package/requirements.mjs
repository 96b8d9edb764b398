/** What the executable needs of a host; docs/install.md has the same. */

/** The C library by the newest version of its symbols that Bun's runtime uses, the kernel by Bun's documentation. */
export const OLDEST = { kernel: "5.1", glibc: "2.17" };
