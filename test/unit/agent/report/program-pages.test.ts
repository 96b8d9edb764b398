import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { releaseProgramPages, untouchedMappings } from "../../../../agent/report/program-pages.ts";

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

it("leaves this program able to run, with fewer pages of its file", () => {
  const residentKib = () =>
    Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
  const before = residentKib();
  releaseProgramPages();
  expect(residentKib()).toBeLessThan(before);
});
