/** Damage to the objects of every backend that this machine's kernel carries; test/guest has the others. */

import { healsDamage } from "../../support/backend-drift.ts";
import { fullRows } from "../../support/backend-table.ts";
import { describeAsRoot } from "../../support/netns.ts";

for (const row of await fullRows())
  if (row.module === null) describeAsRoot(`damage: ${row.name}`, () => healsDamage(row));
