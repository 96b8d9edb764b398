/** How many readers the page takes, by the descriptors that the process may have. */

import { expect, it } from "vitest";
import { capacityOf } from "../../../../agent/page-server/capacity.ts";

const limits = (soft: string): string =>
  [
    "Limit                     Soft Limit           Hard Limit           Units",
    "Max processes             95834                95834                processes",
    `Max open files            ${soft.padEnd(20)} 524288               files`,
  ].join("\n");

it.each([
  ["65536", 1_000, 64],
  ["4096", 1_000, 64],
  ["1024", 448, 64],
  ["512", 192, 64],
  ["64", 24, 8],
  ["unlimited", 1_000, 64],
])("of %s descriptors are %i watchers and %i others", (soft, watchers, others) => {
  expect(capacityOf(limits(soft))).toEqual({ watchers, others });
});
