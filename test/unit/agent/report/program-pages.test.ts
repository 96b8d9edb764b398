import { readFileSync } from "node:fs";
import { release } from "node:os";
import { expect, it } from "vitest";
import {
  programMappings,
  releaseProgramPages,
  untouchedMappings,
} from "../../../../agent/report/program-pages.ts";
import { mapSinglePages } from "../../../../agent/report/single-pages.ts";

function mapping(head: string, anonymousKib: number): string {
  return `${head}\nSize:    100 kB\nRss:     80 kB\nAnonymous:    ${anonymousKib} kB\nVmFlags: rd mr mw me\n`;
}

it("takes mappings of files that can only be read, and of which no page has been written", () => {
  const smaps = [
    mapping("00200000-01a39000 r--p 00000000 fe:00 5414969          /usr/bin/tulle", 0),
    mapping("01a40000-0684a000 r-xp 01838000 fe:00 5414969          /usr/bin/tulle", 0),
    mapping("06867000-07974000 rw-p 0665e000 fe:00 5414969          /usr/bin/tulle", 0),
    mapping("07974000-07975000 r--p 0776b000 fe:00 5414969          /usr/bin/tulle", 4),
    mapping("7f003d702000-7f003d858000 r-xp 00026000 fe:00 326269   /usr/lib/libc.so.6", 12),
    mapping("7f003e000000-7f003e100000 r--s 00000000 00:01 77       /dev/shared", 0),
    mapping("7f003f000000-7f003f001000 r--p 00000000 00:00 0 ", 0),
    mapping("7ffd11900000-7ffd11902000 r-xp 00000000 00:00 0        [vdso]", 0),
  ].join("");
  expect(untouchedMappings(smaps)).toEqual([
    { start: 0x00200000, bytes: 0x1839000 },
    { start: 0x01a40000, bytes: 0x4e0a000 },
  ]);
});

it("leaves this program able to run, with fewer pages of its file, each mapped alone", () => {
  const residentKib = () =>
    Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
  const before = residentKib();
  mapSinglePages(programMappings());
  releaseProgramPages();
  expect(residentKib()).toBeLessThan(before);
  // proc_pid_smaps(5): no pages of 2 MiB, and what userfaultfd follows.
  expect(flagsOfProgram()).toEqual(
    followsFiles() ? expect.arrayContaining(["nh", "uw"]) : expect.arrayContaining(["nh"]),
  );
});

it("leaves what the kernel refuses as it is", () => {
  expect(() => mapSinglePages([{ start: 4096, bytes: 4096 }])).not.toThrow();
});

/** VmFlags of this program's code. */
function flagsOfProgram(): readonly string[] {
  const maps = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[\da-f]+-[\da-f]+ )/m);
  const code = maps.find((each) => each.includes(" r-xp ") && each.includes(process.execPath));
  return /^VmFlags: (.*?) *$/m.exec(code ?? "")?.[1]?.split(" ") ?? [];
}

/** UFFD_FEATURE_WP_ASYNC. */
function followsFiles(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 7);
}
