/**
 * Seals a compiled Bun executable against its environment: before the runtime starts, all variables that it would obey
 * are taken out of the environment.
 *
 * Bun reads BUN_OPTIONS (which loads a script), BUN_BE_BUN, BUN_INSPECT and BUN_JSC_* before the program's first line,
 * and `bun build --compile` has no option against that. So the entry point of the ELF file becomes a routine of under
 * 100 bytes that edits the list of variables on the initial stack (System V ABI, "Process Initialization") and then
 * jumps to the former entry point. It costs no process and no time that can be measured, and depends on nothing in Bun.
 *
 * The routine goes into the padding that the linker left between the read-only and the executable segment. That padding
 * is in the executable segment's first page, so that the segment only has to start a little earlier.
 */

/** elf(5) */
const ELF64 = { entry: 24, programHeaders: 32, machine: 18, headerBytes: 54, headerCount: 56 };
const PHDR = { type: 0, flags: 4, offset: 8, vaddr: 16, paddr: 24, fileBytes: 32, memoryBytes: 40 };
const PT_LOAD = 1;
const PF_X = 1;

/** The routine of each machine (e_machine), followed by its table of names: NUL-terminated, an empty one at the end. */
const ROUTINES = {
  // EM_X86_64. rdx and rsp belong to the former entry point; all other registers are free.
  62: {
    code: [
      [0x48, 0x8b, 0x04, 0x24], //                   mov   rax, [rsp]              ; argc
      [0x48, 0x8d, 0x74, 0xc4, 0x10], //             lea   rsi, [rsp + rax*8 + 16] ; the variables, read
      [0x48, 0x89, 0xf7], //                         mov   rdi, rsi                ; the variables, written
      [0x48, 0xad], //                         next: lodsq
      [0x48, 0x85, 0xc0], //                         test  rax, rax
      [0x74, 0x32], //                               jz    done
      [0x48, 0x8d, 0x1d, 0x32, 0, 0, 0], //          lea   rbx, [table]
      [0x80, 0x3b, 0x00], //                   name: cmp   byte [rbx], 0
      [0x74, 0x22], //                               je    keep                    ; no name matches
      [0x48, 0x89, 0xc1], //                         mov   rcx, rax
      [0x44, 0x8a, 0x03], //                   byte: mov   r8b, [rbx]
      [0x48, 0xff, 0xc3], //                         inc   rbx
      [0x45, 0x84, 0xc0], //                         test  r8b, r8b
      [0x74, 0xdf], //                               je    next                    ; the whole name matches
      [0x44, 0x3a, 0x01], //                         cmp   r8b, [rcx]
      [0x48, 0x8d, 0x49, 0x01], //                   lea   rcx, [rcx + 1]
      [0x74, 0xec], //                               je    byte
      [0x80, 0x3b, 0x00], //                   rest: cmp   byte [rbx], 0
      [0x48, 0x8d, 0x5b, 0x01], //                   lea   rbx, [rbx + 1]
      [0x75, 0xf7], //                               jne   rest
      [0xeb, 0xd9], //                               jmp   name
      [0x48, 0xab], //                         keep: stosq
      [0xeb, 0xc7], //                               jmp   next
      [0x48, 0xab], //                         done: stosq
      [0xe9, 0, 0, 0, 0], //                         jmp   former entry point
    ],
    /** The jump's distance counts from the end of the routine. */
    encodeJump: (code, distance) => code.writeInt32LE(distance - code.length, code.length - 4),
  },
  // EM_AARCH64. x0 and sp belong to the former entry point; all other registers are free.
  183: {
    code: [
      [0xe1, 0x03, 0x40, 0xf9], //       ldr  x1, [sp]             ; argc
      [0xe2, 0x6f, 0x21, 0x8b], //       add  x2, sp, x1, lsl #3
      [0x42, 0x40, 0x00, 0x91], //       add  x2, x2, #16          ; the variables, read
      [0xe3, 0x03, 0x02, 0xaa], //       mov  x3, x2               ; the variables, written
      [0x44, 0x84, 0x40, 0xf8], // next: ldr  x4, [x2], #8
      [0xe4, 0x01, 0x00, 0xb4], //       cbz  x4, done
      [0x05, 0x02, 0x00, 0x10], //       adr  x5, table
      [0xa6, 0x00, 0x40, 0x39], // name: ldrb w6, [x5]
      [0x46, 0x01, 0x00, 0x34], //       cbz  w6, keep             ; no name matches
      [0xe7, 0x03, 0x04, 0xaa], //       mov  x7, x4
      [0xa6, 0x14, 0x40, 0x38], // byte: ldrb w6, [x5], #1
      [0x26, 0xff, 0xff, 0x34], //       cbz  w6, next             ; the whole name matches
      [0xe8, 0x14, 0x40, 0x38], //       ldrb w8, [x7], #1
      [0xdf, 0x00, 0x08, 0x6b], //       cmp  w6, w8
      [0x80, 0xff, 0xff, 0x54], //       b.eq byte
      [0xa6, 0x14, 0x40, 0x38], // rest: ldrb w6, [x5], #1
      [0xe6, 0xff, 0xff, 0x35], //       cbnz w6, rest
      [0xf6, 0xff, 0xff, 0x17], //       b    name
      [0x64, 0x84, 0x00, 0xf8], // keep: str  x4, [x3], #8
      [0xf1, 0xff, 0xff, 0x17], //       b    next
      [0x7f, 0x00, 0x00, 0xf9], // done: str  xzr, [x3]
      [0x00, 0x00, 0x00, 0x14], //       b    former entry point
    ],
    /** The jump's distance is in words and counts from the jump. */
    encodeJump: (code, distance) => {
      const words = (distance - code.length + 4) / 4;
      code.writeUInt32LE(0x14000000 | (words & 0x03ffffff), code.length - 4);
    },
  },
};

/** Instructions of both machines are found at such addresses. */
const ALIGNMENT = 16;

/**
 * Edits the bytes of an ELF executable in place. `prefixes` are beginnings of variables, "NAME=" for one alone.
 * Throws when the file has another form than the linker of Bun gives it.
 */
export function seal(elf, prefixes) {
  const routine = ROUTINES[elf.readUInt16LE(ELF64.machine)];
  const segments = loadedSegments(elf);
  const text = segments.find(({ flags }) => (flags & PF_X) !== 0);
  if (routine === undefined || text === undefined)
    throw new Error("seal: not an executable of a known machine");
  const code = Buffer.from(routine.code.flat());
  const table = Buffer.from(`${prefixes.map((prefix) => `${prefix}\0`).join("")}\0`);
  const bytes = Math.ceil((code.length + table.length) / ALIGNMENT) * ALIGNMENT;
  requirePadding(elf, segments, text, bytes);

  const address = text.vaddr - bytes;
  routine.encodeJump(code, Number(elf.readBigUInt64LE(ELF64.entry)) - address);
  Buffer.concat([code, table]).copy(elf, text.offset - bytes);
  for (const [field, change] of [
    [PHDR.offset, -bytes],
    [PHDR.vaddr, -bytes],
    [PHDR.paddr, -bytes],
    [PHDR.fileBytes, bytes],
    [PHDR.memoryBytes, bytes],
  ]) {
    elf.writeBigUInt64LE(elf.readBigUInt64LE(text.header + field) + BigInt(change), text.header + field);
  }
  elf.writeBigUInt64LE(BigInt(address), ELF64.entry);
}

/** The bytes before the executable segment must be unused in the file and in the same page of memory. */
function requirePadding(elf, segments, text, bytes) {
  const start = text.offset - bytes;
  const pageStart = text.offset - (text.vaddr % text.alignment);
  const isFree =
    start >= pageStart &&
    segments.every(({ offset, fileBytes }) => offset >= text.offset || offset + fileBytes <= start) &&
    elf.subarray(start, text.offset).every((byte) => byte === 0);
  if (!isFree) throw new Error(`seal: no ${bytes} bytes of padding before the executable segment`);
}

function loadedSegments(elf) {
  const start = Number(elf.readBigUInt64LE(ELF64.programHeaders));
  const size = elf.readUInt16LE(ELF64.headerBytes);
  return Array.from({ length: elf.readUInt16LE(ELF64.headerCount) }, (_, index) => start + index * size)
    .filter((header) => elf.readUInt32LE(header + PHDR.type) === PT_LOAD)
    .map((header) => ({
      header,
      flags: elf.readUInt32LE(header + PHDR.flags),
      offset: Number(elf.readBigUInt64LE(header + PHDR.offset)),
      vaddr: Number(elf.readBigUInt64LE(header + PHDR.vaddr)),
      fileBytes: Number(elf.readBigUInt64LE(header + PHDR.fileBytes)),
      alignment: Number(elf.readBigUInt64LE(header + 48)),
    }));
}
