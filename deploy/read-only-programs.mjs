/**
 * Makes the programs inside a compiled Bun executable read-only in memory. Bun puts them, in the section .bun, at the end
 * of the segment of variables, so that they are writable and cannot be told from variables: nothing can give their pages
 * back (agent/report/program-pages.ts), and what overwrites memory by mistake could change code. Here the segment is
 * split before that section. The header of the new segment takes the place of that of the linker's notes, which nothing
 * reads at run time.
 */

import { PF_R, PF_W, PHDR, PT_LOAD, PT_NOTE, sectionOf, segmentsOf } from "./elf.mjs";

/**
 * Edits the bytes of an ELF executable in place. Throws when the file has another form than `bun build --compile` gives it:
 * the section must end the last segment of its kind.
 */
export function makeProgramsReadOnly(elf) {
  const section = sectionOf(elf, ".bun");
  const segments = segmentsOf(elf);
  const loaded = segments.filter(({ type }) => type === PT_LOAD);
  const variables = loaded.at(-1);
  const notes = segments.findLast(({ type }) => type === PT_NOTE);
  if (
    section === undefined ||
    variables === undefined ||
    notes === undefined ||
    !endsWith(variables, section)
  )
    throw new Error("read-only programs: the executable does not end with the section .bun");
  // A page belongs to one segment, also on kernels with pages as large as the alignment.
  const start = Math.ceil(section.vaddr / variables.alignment) * variables.alignment;
  const bytes = start - variables.vaddr;
  writeWords(elf, variables.header, { fileBytes: bytes, memoryBytes: bytes });
  elf.writeUInt32LE(PT_LOAD, notes.header + PHDR.type);
  elf.writeUInt32LE(PF_R, notes.header + PHDR.flags);
  writeWords(elf, notes.header, {
    offset: variables.offset + bytes,
    vaddr: start,
    paddr: start,
    fileBytes: variables.fileBytes - bytes,
    memoryBytes: variables.memoryBytes - bytes,
    alignment: variables.alignment,
  });
}

/** What follows a section up to the end of its segment must be padding, and all of it be in the file. */
function endsWith({ flags, vaddr, fileBytes, memoryBytes, alignment }, section) {
  const end = vaddr + fileBytes;
  const rest = end - (section.vaddr + section.bytes);
  return (flags & PF_W) !== 0 && fileBytes === memoryBytes && rest >= 0 && rest < alignment;
}

function writeWords(elf, header, words) {
  for (const [field, value] of Object.entries(words))
    elf.writeBigUInt64LE(BigInt(value), header + PHDR[field]);
}
