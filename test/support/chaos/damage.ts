/** What happens to a cluster of Docker hosts, one function each. Every one of them ends, and leaves the rest to a heal. */

import { cutOff } from "../cut.ts";
import type { DockerLab } from "../docker-lab.ts";
import type { Random } from "../random.ts";
import { type ChaosHost, NETWORK } from "./chaos-host.ts";

/** How long things last, milliseconds. */
export interface ChaosTimes {
  readonly storeAwayMs: number;
  readonly partitionMs: number;
  readonly hostDeadMs: number;
  /** Longest time that a daemon is absent. */
  readonly daemonAwayMs: number;
}

export interface DamageContext {
  readonly lab: DockerLab;
  readonly times: ChaosTimes;
  readonly random: Random;
  readonly pause: (ms: number) => Promise<void>;
  /** Called while the host is dead, at the end of the time that it is. */
  readonly whileDead: (host: ChaosHost) => Promise<void>;
}

export interface Damage {
  readonly title: string;
  /** What it strikes. One of a host's daemons and one of its containers may come at once. */
  readonly on: "container" | "daemon" | "host" | "store";
  readonly run: (host: ChaosHost, context: DamageContext) => Promise<void>;
}

const away = async ({ random, times, pause }: DamageContext): Promise<void> => {
  await pause(random(times.daemonAwayMs));
};

const anyOf = (host: ChaosHost, random: Random) => {
  const container = host.containers[random(host.containers.length)];
  if (container === undefined) throw new Error("a host of the chaos has no containers");
  return container;
};

export const DAMAGES: readonly Damage[] = [
  {
    title: "tulled killed and started",
    on: "daemon",
    run: async (host, context) => {
      await host.docker.host.daemon.kill();
      await away(context);
      await host.startAgent();
    },
  },
  {
    title: "tulled stopped and started",
    on: "daemon",
    run: async (host, context) => {
      await host.docker.host.daemon.stop();
      await away(context);
      await host.startAgent();
    },
  },
  {
    title: "tulled killed twice in a row",
    on: "daemon",
    run: async (host, { pause, random }) => {
      await host.docker.host.daemon.kill();
      await host.startAgent();
      await pause(random(1_500));
      await host.docker.host.daemon.kill();
      await host.startAgent();
    },
  },
  {
    title: "dockerd killed and started",
    on: "daemon",
    run: async (host, context) => {
      await host.docker.kill();
      await away(context);
      await host.startDockerd();
    },
  },
  {
    title: "dockerd stopped and started",
    on: "daemon",
    run: async (host, context) => {
      await host.docker.stop();
      await away(context);
      await host.startDockerd();
    },
  },
  {
    title: "dockerd killed and started with the other live-restore",
    on: "daemon",
    run: async (host, context) => {
      // What it is killed with decides whether its containers live on.
      await host.docker.stop();
      host.hasLiveRestore = !host.hasLiveRestore;
      await host.startDockerd();
      await host.docker.kill();
      await away(context);
      await host.startDockerd();
    },
  },
  {
    title: "both daemons killed, dockerd started first",
    on: "daemon",
    run: async (host, context) => {
      await host.docker.host.daemon.kill();
      await host.docker.kill();
      const starting = host.startDockerd();
      await away(context);
      await host.startAgent();
      await starting;
    },
  },
  {
    title: "a container killed",
    on: "container",
    run: async (host, { random }) => {
      const { name } = anyOf(host, random);
      host.stopped.add(name);
      await host.docker.attempt("kill", name);
    },
  },
  {
    title: "a container's first process killed",
    on: "container",
    run: async (host, { random }) => {
      const { name } = anyOf(host, random);
      const { ok, text } = await host.docker.attempt("inspect", "--format", "{{.State.Pid}}", name);
      if (ok && Number(text) > 1) process.kill(Number(text), "SIGKILL");
    },
  },
  {
    title: "a container removed",
    on: "container",
    run: async (host, { random }) => {
      await host.docker.attempt("rm", "--force", anyOf(host, random).name);
    },
  },
  {
    title: "a container restarted twice",
    on: "container",
    run: async (host, { random }) => {
      const { name } = anyOf(host, random);
      host.stopped.add(name);
      for (let count = 0; count < 2; count += 1) await host.docker.attempt("restart", name);
    },
  },
  {
    title: "a container disconnected and connected",
    on: "container",
    run: async (host, { random }) => {
      const { name, address } = anyOf(host, random);
      await host.docker.attempt("network", "disconnect", NETWORK, name);
      const options = address === null ? [] : ["--ip", address];
      await host.docker.attempt("network", "connect", ...options, NETWORK, name);
    },
  },
  {
    title: "20 containers started and removed",
    on: "container",
    run: async (host) => {
      const names = Array.from({ length: 20 }, (_, at) => `crowd${at}`);
      const run = ["run", "--detach", "--network", NETWORK, "--stop-timeout=0"];
      await Promise.all(
        names.map((name) => host.docker.attempt(...run, "--name", name, "box", "sleep", "1000")),
      );
      await host.docker.attempt("rm", "--force", ...names);
    },
  },
  {
    title: "a network made, used and removed",
    on: "container",
    run: async (host) => {
      const name = host.ownNetwork;
      await host.docker.attempt(
        ...["network", "create", "--driver", "tulle", "--ipam-driver", "tulle", name],
      );
      await host.docker.attempt("run", "--rm", "--network", name, "box", "true");
      await host.docker.attempt("network", "rm", name);
    },
  },
  {
    title: "the whole host dead, and booted",
    on: "host",
    run: async (host, { times, pause, whileDead }) => {
      await host.die();
      await pause(times.hostDeadMs);
      await whileDead(host);
      await host.boot();
    },
  },
  {
    title: "the host cut off from the store",
    on: "host",
    run: async (host, { times, pause }) => {
      const join = cutOff(host.docker.host.netns, { address: "192.168.50.1" });
      await pause(times.partitionMs);
      join();
    },
  },
  {
    title: "the host cut off from all",
    on: "host",
    run: async (host, { times, pause }) => {
      const join = cutOff(host.docker.host.netns);
      await pause(times.partitionMs);
      join();
    },
  },
  {
    title: "the store hung",
    on: "store",
    run: async (_host, { lab, times, pause }) => {
      const [etcd] = lab.net.etcd.members;
      await etcd?.pause();
      await pause(times.storeAwayMs);
      etcd?.resume();
    },
  },
  {
    title: "the store killed and started",
    on: "store",
    run: async (_host, { lab, times, pause }) => {
      const [etcd] = lab.net.etcd.members;
      await etcd?.kill();
      await pause(times.storeAwayMs);
      await etcd?.start();
    },
  },
];
