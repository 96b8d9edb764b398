/** The contract of KernelPort with the objects of every backend, kept by the real kernel and by the fake alike. */

import { describe, expect, it } from "vitest";
import type { KernelPort } from "../../../backends/kernel/port.ts";
import { NetlinkError } from "../../../backends/netlink/errors.ts";
import type { Change } from "../../../backends/state/diff.ts";
import { type KernelObject, ownerOf } from "../../../backends/state/kinds/registry.ts";
import { inOrder } from "../../../backends/state/order.ts";
import {
  type BackendRow,
  backendRows,
  fullRows,
  UPLINK,
  UPLINK_ADDRESSES,
  UPLINK_LINK,
} from "../../support/backend-table.ts";
import { FakeKernel } from "../../support/fake-kernel.ts";
import { describeAsRoot } from "../../support/netns.ts";
import { renderState } from "../../support/render-state.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

type Changing = "create" | "delete";

async function conforms(port: KernelPort, { backend, own, peer, scope }: BackendRow): Promise<void> {
  const base = backend.planBase(own);
  const peers = [...backend.planPeer(peer(4), false), ...backend.planPeer(peer(5), true)];
  const apply = (op: Changing, objects: readonly KernelObject[]) => {
    const changes = objects.map((object): Change => ({ op, object }));
    return port.apply(inOrder(changes.map((change) => ({ change }))).map(({ change }) => change));
  };
  const ours = async () => {
    const objects = await port.dump(scope);
    return renderState(objects.filter((object) => ownerOf(object, scope) !== "foreign"));
  };
  await port.dump(scope);
  const all = [...base, ...peers];
  expect(await apply("create", all)).toEqual(all.map(() => null));
  expect(await ours()).toBe(renderState(all));
  const routes = all.filter(({ kind }) => kind === "route");
  const refusals = await apply("create", routes);
  expect(refusals.map((error) => error instanceof NetlinkError && error.errnoName)).toEqual(
    routes.map(() => "EEXIST"),
  );
  expect(await ours()).toBe(renderState(all));
  for (let round = 0; round < 2; round++) {
    expect(await apply("delete", peers)).toEqual(peers.map(() => null));
    expect(await ours()).toBe(renderState(base));
  }
}

describe.each(await backendRows())("the fake kernel with $name", (row) => {
  it("makes what it is told to, once, and removes it", async () => {
    const port = new FakeKernel();
    port.interfere(UPLINK_LINK);
    await conforms(port, row);
  });
});

for (const row of await fullRows()) {
  if (row.module !== null) continue;
  describeAsRoot(`the real kernel with ${row.name}`, () => {
    it("makes what it is told to, once, and removes it", async () => {
      const { backend, own, scope } = row;
      const host = new VxlanHost({ label: "conform", backend, own, scope });
      try {
        host.sh(`ip address add ${UPLINK_ADDRESSES[1]} dev ${UPLINK} nodad`);
        await conforms(host.port, row);
      } finally {
        await host.dispose();
      }
    });
  });
}
