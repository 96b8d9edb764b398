/** Damage to the objects of the backends that need a module; test/kernel/backends has the others. */

import { beforeAll } from "vitest";
import { healsDamage } from "../support/backend-drift.ts";
import { fullRows } from "../support/backend-table.ts";
import { describeInGuest, loadModule } from "../support/guest.ts";

for (const row of await fullRows()) {
  const { name, module } = row;
  if (module === null) continue;
  describeInGuest(`damage: ${name}`, () => {
    beforeAll(() => loadModule(module));
    healsDamage(row);
  });
}
