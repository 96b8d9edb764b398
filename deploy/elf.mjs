/** What the tools that edit an executable read of it: elf(5), 64 bits, little-endian. All offsets are in bytes. */

/** Of the file's header. */
export const ELF64 = {
  entry: 24,
  programHeaders: 32,
  sectionHeaders: 40,
  machine: 18,
  headerBytes: 54,
  headerCount: 56,
  sectionBytes: 58,
  sectionCount: 60,
  namesIndex: 62,
};

/** Of a program header, which describes a segment. */
export const PHDR = {
  type: 0,
  flags: 4,
  offset: 8,
  vaddr: 16,
  paddr: 24,
  fileBytes: 32,
  memoryBytes: 40,
  alignment: 48,
};

/** Of a section header. */
const SHDR = { name: 0, vaddr: 16, offset: 24, bytes: 32 };

export const PT_LOAD = 1;
export const PT_NOTE = 4;
export const PF_X = 1;
export const PF_W = 2;
export const PF_R = 4;

/** All program headers. `header` is the place of each in the file. */
export function segmentsOf(elf) {
  const start = wordAt(elf, ELF64.programHeaders);
  const size = elf.readUInt16LE(ELF64.headerBytes);
  return Array.from({ length: elf.readUInt16LE(ELF64.headerCount) }, (_, index) => start + index * size).map(
    (header) => ({
      header,
      type: elf.readUInt32LE(header + PHDR.type),
      flags: elf.readUInt32LE(header + PHDR.flags),
      offset: wordAt(elf, header + PHDR.offset),
      vaddr: wordAt(elf, header + PHDR.vaddr),
      fileBytes: wordAt(elf, header + PHDR.fileBytes),
      memoryBytes: wordAt(elf, header + PHDR.memoryBytes),
      alignment: wordAt(elf, header + PHDR.alignment),
    }),
  );
}

/** The section of a name, or undefined. */
export function sectionOf(elf, name) {
  const sections = sectionsOf(elf);
  const names = sections[elf.readUInt16LE(ELF64.namesIndex)];
  return sections.find((section) => nameAt(elf, names.offset + section.name) === name);
}

function sectionsOf(elf) {
  const start = wordAt(elf, ELF64.sectionHeaders);
  const size = elf.readUInt16LE(ELF64.sectionBytes);
  return Array.from({ length: elf.readUInt16LE(ELF64.sectionCount) }, (_, index) => start + index * size).map(
    (header) => ({
      name: elf.readUInt32LE(header + SHDR.name),
      vaddr: wordAt(elf, header + SHDR.vaddr),
      offset: wordAt(elf, header + SHDR.offset),
      bytes: wordAt(elf, header + SHDR.bytes),
    }),
  );
}

function nameAt(elf, start) {
  return elf.toString("latin1", start, elf.indexOf(0, start));
}

function wordAt(elf, place) {
  return Number(elf.readBigUInt64LE(place));
}
