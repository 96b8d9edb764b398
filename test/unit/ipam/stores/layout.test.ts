/** Prefixes as administrators write them, and the keys that flanneld makes of them. */

import { expect, it } from "vitest";
import { layoutOf } from "../../../../ipam/stores/layout.ts";

it.each([
  ["/coreos.com/network", "/coreos.com/network"],
  ["/docker-test/network/", "/docker-test/network"],
  ["/docker-test//network", "/docker-test/network"],
  ["//docker-test/./x/../network//", "/docker-test/network"],
  ["docker-test/network", "docker-test/network"],
])("takes %s for %s", (prefix, folder) => {
  expect(layoutOf(prefix)).toEqual({
    config: `${folder}/config`,
    subnets: `${folder}/subnets/`,
    records: `${folder}/tulle/`,
  });
});

it.each(["", "/", "//", ".", "./"])("refuses %j, which names no folder", (prefix) => {
  expect(() => layoutOf(prefix)).toThrow(/is empty/);
});
