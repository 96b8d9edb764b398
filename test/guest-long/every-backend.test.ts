/** Damage to the objects of the backends that need a module; test/kernel/backends has the others. */

import { beforeAll } from "vitest";
import { healsDamage } from "../support/backend-drift.ts";
import { fullRows } from "../support/backend-table.ts";
import { describeInGuest, loadModule } from "../support/guest.ts";

const rows = await fullRows();
// The guest is slow: one row of each backend.
for (const row of rows.filter(({ type }, at) => rows.findIndex((other) => other.type === type) === at)) {
  const { name, module } = row;
  if (module === null) continue;
  describeInGuest(`damage: ${name}`, () => {
    beforeAll(() => loadModule(module));
    healsDamage(row);
  });
}
