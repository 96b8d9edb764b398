/**
 * Seals a compiled Bun executable against its environment: before the runtime starts, all variables that it would obey
 * are taken out of the environment, a host without a file that the runtime cannot do without gets one line of text, and a
 * program in a folder that was deleted goes to one where nothing can be written.
 *
 * Bun reads BUN_OPTIONS (which loads a script), BUN_BE_BUN, BUN_INSPECT and BUN_JSC_* before the program's first line,
 * and `bun build --compile` has no option against that. Without /proc, or a path to the current folder, it ends there. So
 * the entry point of the ELF file becomes a routine of under 250 bytes that looks for the file, asks for that path, edits the list of variables on the initial stack
 * (System V ABI, "Process Initialization") and then jumps to the former entry point. It costs no process and no time
 * that can be measured, and depends on nothing in Bun.
 *
 * The routine goes into the padding that the linker left between the read-only and the executable segment. That padding
 * is in the executable segment's first page, so that the segment only has to start a little earlier.
 */

import { ELF64, PF_X, PHDR, PT_LOAD, segmentsOf } from "./elf.mjs";

/**
 * The routine of each machine (e_machine). Before it are the file's name, the folder's and the text; behind it is its table of names:
 * NUL-terminated, an empty one at the end.
 */
const ROUTINES = {
  // EM_X86_64. rdx and rsp belong to the former entry point; all other registers are free.
  62: {
    /** `file`, `folder` and `text` are offsets from the first instruction, which are negative. */
    check: ({ file, folder, text, textBytes }) => [
      [0x49, 0x89, 0xd0], //                         mov   r8, rdx
      [0x48, 0x8d, 0x3d, ...int32(file - 10)], //    lea   rdi, [file]
      [0x31, 0xf6], //                               xor   esi, esi                ; F_OK
      [0xb8, ...int32(21)], //                       mov   eax, 21                 ; access
      [0x0f, 0x05], //                               syscall
      [0x83, 0xf8, 0xfe], //                         cmp   eax, -2                 ; ENOENT
      [0x75, 0x26], //                               jne   found
      [0xbf, ...int32(2)], //                        mov   edi, 2
      [0x48, 0x8d, 0x35, ...int32(text - 36)], //    lea   rsi, [text]
      [0xba, ...int32(textBytes)], //                mov   edx, textBytes
      [0xb8, ...int32(1)], //                        mov   eax, 1                  ; write
      [0x0f, 0x05], //                               syscall
      [0xbf, ...int32(1)], //                        mov   edi, 1
      [0xb8, ...int32(231)], //                      mov   eax, 231                ; exit_group
      [0x0f, 0x05], //                               syscall
      [0x0f, 0x0b], //                               ud2
      [0x31, 0xff], //                        found: xor   edi, edi
      [0x31, 0xf6], //                               xor   esi, esi                ; no room: ERANGE where there is a path
      [0xb8, ...int32(79)], //                       mov   eax, 79                 ; getcwd
      [0x0f, 0x05], //                               syscall
      [0x83, 0xf8, 0xfe], //                         cmp   eax, -2                 ; ENOENT
      [0x75, 0x0e], //                               jne   stay
      [0x48, 0x8d, 0x3d, ...int32(folder - 85)], //  lea   rdi, [folder]
      [0xb8, ...int32(80)], //                       mov   eax, 80                 ; chdir
      [0x0f, 0x05], //                               syscall
      [0x4c, 0x89, 0xc2], //                   stay: mov   rdx, r8
    ],
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
    check: ({ file, folder, text, textBytes }) => [
      [0xe9, 0x03, 0x00, 0xaa], //       mov  x9, x0
      [0x60, 0x0c, 0x80, 0x92], //       mov  x0, #-100            ; AT_FDCWD
      adr(1, file - 8), //               adr  x1, file
      [0x02, 0x00, 0x80, 0xd2], //       mov  x2, #0               ; F_OK
      [0x08, 0x06, 0x80, 0xd2], //       mov  x8, #48              ; faccessat
      [0x01, 0x00, 0x00, 0xd4], //       svc  #0
      [0x1f, 0x08, 0x00, 0xb1], //       cmn  x0, #2               ; ENOENT
      [0x21, 0x01, 0x00, 0x54], //       b.ne found
      [0x40, 0x00, 0x80, 0xd2], //       mov  x0, #2
      adr(1, text - 36), //              adr  x1, text
      uint32(0xd2800002 | (textBytes << 5)), // mov x2, #textBytes
      [0x08, 0x08, 0x80, 0xd2], //       mov  x8, #64              ; write
      [0x01, 0x00, 0x00, 0xd4], //       svc  #0
      [0x20, 0x00, 0x80, 0xd2], //       mov  x0, #1
      [0xc8, 0x0b, 0x80, 0xd2], //       mov  x8, #94              ; exit_group
      [0x01, 0x00, 0x00, 0xd4], //       svc  #0
      [0xe0, 0x03, 0x00, 0x91], // found: mov  x0, sp
      [0x01, 0x00, 0x80, 0xd2], //       mov  x1, #0               ; no room: ERANGE where there is a path
      [0x28, 0x02, 0x80, 0xd2], //       mov  x8, #17              ; getcwd
      [0x01, 0x00, 0x00, 0xd4], //       svc  #0
      [0x1f, 0x08, 0x00, 0xb1], //       cmn  x0, #2               ; ENOENT
      [0x81, 0x00, 0x00, 0x54], //       b.ne stay
      adr(0, folder - 88), //            adr  x0, folder
      [0x28, 0x06, 0x80, 0xd2], //       mov  x8, #49              ; chdir
      [0x01, 0x00, 0x00, 0xd4], //       svc  #0
      [0xe0, 0x03, 0x09, 0xaa], // stay: mov  x0, x9
    ],
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
 * Edits the bytes of an ELF executable in place. `prefixes` are beginnings of variables, "NAME=" for one alone. Where
 * `need.file` does not exist the program writes `need.text` to standard error and ends with the exit code 1. Where its
 * current folder was deleted it goes to `need.folder`.
 * Throws when the file has another form than the linker of Bun gives it.
 */
export function seal(elf, prefixes, need) {
  const routine = ROUTINES[elf.readUInt16LE(ELF64.machine)];
  const segments = segmentsOf(elf).filter(({ type }) => type === PT_LOAD);
  const executable = segments.find(({ flags }) => (flags & PF_X) !== 0);
  if (routine === undefined || executable === undefined)
    throw new Error("seal: not an executable of a known machine");
  const strings = alignedUp(Buffer.from(`${need.file}\0${need.folder}\0${need.text}`));
  const file = -strings.length;
  const folder = file + Buffer.byteLength(need.file) + 1;
  const text = folder + Buffer.byteLength(need.folder) + 1;
  const check = routine.check({ file, folder, text, textBytes: Buffer.byteLength(need.text) });
  const code = Buffer.from([...check, ...routine.code].flat());
  const table = Buffer.from(`${prefixes.map((prefix) => `${prefix}\0`).join("")}\0`);
  const whole = alignedUp(Buffer.concat([strings, code, table]));
  const bytes = whole.length;
  requirePadding(elf, segments, executable, bytes);

  const entry = executable.vaddr - bytes + strings.length;
  const jump = whole.subarray(strings.length, strings.length + code.length);
  routine.encodeJump(jump, Number(elf.readBigUInt64LE(ELF64.entry)) - entry);
  whole.copy(elf, executable.offset - bytes);
  for (const [field, change] of [
    [PHDR.offset, -bytes],
    [PHDR.vaddr, -bytes],
    [PHDR.paddr, -bytes],
    [PHDR.fileBytes, bytes],
    [PHDR.memoryBytes, bytes],
  ]) {
    const place = executable.header + field;
    elf.writeBigUInt64LE(elf.readBigUInt64LE(place) + BigInt(change), place);
  }
  elf.writeBigUInt64LE(BigInt(entry), ELF64.entry);
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

/** With zeros behind it. */
function alignedUp(bytes) {
  const whole = Buffer.alloc(Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT);
  bytes.copy(whole);
  return whole;
}

function int32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return [...bytes];
}

function uint32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return [...bytes];
}

/** ARM's `adr xN, offset`: 21 bits, the lowest two apart. */
function adr(register, offset) {
  return uint32(0x10000000 | register | ((offset & 3) << 29) | (((offset >> 2) & 0x7ffff) << 5));
}
