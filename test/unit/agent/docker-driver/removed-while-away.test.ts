/** Networks that the engine no longer has when tulled comes back: removed by a user, or lost. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type DriverHost, DriverLab, eventually, OURS } from "../../../support/docker-driver-lab.ts";

/** An engine that lacks a network may still ask for its removal in the first ten seconds. */
const LATER = 25_000;

/** Two hosts with the network ov_net1; `absence` is what happens on the first while its tulled is away. */
async function away(
  absence: (one: DriverHost, two: DriverHost) => Promise<void>,
  after: (one: DriverHost, two: DriverHost) => Promise<void>,
): Promise<void> {
  const lab = new DriverLab();
  try {
    const [one, two] = [await lab.addHost(), await lab.addHost()];
    await one.engine.create("ov_net1", OURS);
    await eventually(() => two.networkNames().includes("ov_net1"));
    await eventually(() => one.log.some(({ message }) => message === "docker network published"));
    await one.stopDriver();
    await absence(one, two);
    await one.startDriver();
    await after(one, two);
  } finally {
    await lab.dispose();
  }
}

interface StateFile {
  readonly networks: readonly { readonly database?: string }[];
  readonly ownRemovals: readonly string[];
}

const statePath = ({ folder }: DriverHost): string => join(folder, "docker-networks.json");

function readState(one: DriverHost): StateFile {
  return JSON.parse(readFileSync(statePath(one), "utf8"));
}

function rewriteState(one: DriverHost, change: (state: StateFile) => object): void {
  writeFileSync(statePath(one), JSON.stringify(change(readState(one))));
}

/** The engine remembers no events after it. */
async function restart(one: DriverHost): Promise<void> {
  await one.engine.kill();
  await one.engine.start();
}

async function isBack(one: DriverHost): Promise<void> {
  await eventually(() => one.networkNames().includes("ov_net1"), LATER);
}

describe.concurrent("a network that the engine lacks after tulled was away", { timeout: 40_000 }, () => {
  it("goes everywhere when a user removed it", async () => {
    await away(
      async (one) => one.engine.remove("ov_net1"),
      async (one, two) => {
        await eventually(() => two.networkNames().length === 0, LATER);
        await eventually(() => one.feed.view.networks.size === 0);
        expect(one.networkNames()).toEqual([]);
      },
    );
  });

  it("goes everywhere when the first answer of the engine about its removal is cut off", async () => {
    await away(
      async (one) => {
        await one.engine.remove("ov_net1");
        one.engine.events.cutAnswers = 1;
      },
      async (one, two) => {
        await eventually(() => two.networkNames().length === 0, LATER);
        expect(one.networkNames()).toEqual([]);
      },
    );
  });

  it("comes back, with a notice, when a user removed it and a container of another host uses it", async () => {
    await away(
      async (one, two) => {
        await two.engine.run("bbox2", "ov_net1");
        await one.engine.remove("ov_net1");
      },
      async (one) => {
        await isBack(one);
        expect(one.driver.status().notices).toMatchObject([{ network: "ov_net1" }]);
      },
    );
  });

  it("goes everywhere when a user removed it and the engine was restarted since", async () => {
    await away(
      async (one) => {
        await one.engine.remove("ov_net1");
        await restart(one);
      },
      async (one, two) => {
        await eventually(() => two.networkNames().length === 0, LATER);
        expect(one.networkNames()).toEqual([]);
      },
    );
  });

  it("comes back when the engine has lost its database", async () => {
    await away(async (one) => {
      one.engine.networks.clear();
      one.engine.database = "0".repeat(64);
      await restart(one);
    }, isBack);
  });

  it("comes back when it is not known to have been in the engine's database", async () => {
    await away(async (one) => {
      await one.engine.remove("ov_net1");
      rewriteState(one, (state) => ({
        ...state,
        networks: state.networks.map(({ database: _, ...network }) => network),
      }));
      await restart(one);
    }, isBack);
  });

  it("comes back when it was tulled that removed it", async () => {
    await away(async (one) => {
      rewriteState(one, (state) => ({ ...state, ownRemovals: [one.engine.network("ov_net1").id] }));
      await one.engine.remove("ov_net1");
    }, isBack);
  });

  it("goes everywhere when a user removed it after tulled was killed before it did", async () => {
    await away(
      async (one) => {
        rewriteState(one, (state) => ({ ...state, ownRemovals: [one.engine.network("ov_net1").id] }));
      },
      async (one, two) => {
        await eventually(() => readState(one).ownRemovals.length === 0);
        await one.engine.remove("ov_net1");
        await eventually(() => two.networkNames().length === 0, LATER);
        expect(one.networkNames()).toEqual([]);
      },
    );
  });
});
