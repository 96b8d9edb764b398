/**
 * Has the kernel map each page of a program file alone, when it is needed.
 *
 * It maps the pages around it too, 64 KiB as a rule (do_fault_around in mm/memory.c), or the 2 MiB that the page cache has
 * in one piece. A daemon's code lies so far apart that most of what is mapped in this way never runs. madvise(2) has no word
 * against the first of these, but memory whose changes userfaultfd(2) follows is left out (uffd_disable_fault_around in
 * linux/userfaultfd_k.h). Nothing is protected from writing here, so no fault is ever reported.
 */

import * as libc from "../../backends/netlink/libc.ts";

/** asm-generic/mman-common.h */
const MADV_NOHUGEPAGE = 15;
/** asm-generic/fcntl.h and linux/userfaultfd.h: needs no rights, and its descriptor goes to no other program. */
const FLAGS = 0o2000000 | 1;
const UFFDIO_API = 0xc018aa3f;
const UFFDIO_REGISTER = 0xc020aa00;
const UFFD_API = 0xaan;
/** Also of mappings of files; Linux 6.7. */
const UFFD_FEATURE_WP_ASYNC = 1n << 15n;
const UFFDIO_REGISTER_MODE_WP = 1n << 1n;

/** A part of this process's memory, in bytes and at borders of pages. */
export interface Mapping {
  readonly start: number;
  readonly bytes: number;
}

/**
 * Call it once. Where the kernel or a filter of system calls refuses, the mappings are as before.
 *
 * The descriptor stays open, because closing it would end this.
 */
export function mapSinglePages(mappings: readonly Mapping[]): void {
  for (const { start, bytes } of mappings) libc.madvise(start, bytes, MADV_NOHUGEPAGE);
  const fd = libc.userfaultfd(FLAGS);
  if (fd < 0) return;
  if (libc.ioctlBytes(fd, UFFDIO_API, words(UFFD_API, UFFD_FEATURE_WP_ASYNC, 0n)) < 0) {
    libc.close(fd);
    return;
  }
  for (const { start, bytes } of mappings)
    libc.ioctlBytes(fd, UFFDIO_REGISTER, words(BigInt(start), BigInt(bytes), UFFDIO_REGISTER_MODE_WP, 0n));
}

/** A structure of 64-bit numbers, in the byte order of this machine. */
function words(...values: readonly bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.of(...values).buffer);
}
