/**
 * The page: how soon a browser shows it, and what it costs the agent while it is watched.
 *
 * The network exists nowhere (test/support/page-process.ts). In a second 20 round trips change, as many as the prober
 * measures.
 */

import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import process from "node:process";
import type { Browser } from "playwright-core";
import { openBrowser } from "../support/browser.ts";
import { RunningScene } from "../support/page-scene.ts";
import type { Bench, Report } from "./support/report.ts";

const URL = "http://127.0.0.1:8080/";
/** The benchmark has a namespace of its own. */
const HERE = { path: "/proc/self/ns/net" };
const SOURCES = join(process.cwd(), "test/support");

export const bench: Bench = async (report, { isQuick }) => {
  const loads = isQuick ? 3 : 10;
  const seconds = isQuick ? 3 : 10;
  const { browser, close } = await openBrowser(HERE);
  try {
    for (const hosts of [50, 500, 5_000]) await measureLoads(report, browser, hosts, loads);
  } finally {
    await close();
  }
  for (const [hosts, watchers] of [
    [500, 1],
    [5_000, 1],
    [500, 1_000],
  ] as const)
    await measureCost(report, hosts, isQuick ? Math.min(20, watchers) : watchers, seconds);
};

/** From the navigation to the first paint and to the picture with all hosts, by the browser's clock. */
async function measureLoads(report: Report, browser: Browser, hosts: number, loads: number): Promise<void> {
  const scene = await RunningScene.start(HERE, { hosts }, SOURCES);
  const first: number[] = [];
  const whole: number[] = [];
  const page = await browser.newPage();
  try {
    // One more, for the browser's start.
    for (let load = 0; load <= loads; load += 1) {
      await page.goto(URL, { waitUntil: "commit" });
      const drawn = `new Promise((resolve) => {
        const look = () => document.querySelectorAll(".dots circle").length === ${hosts}
          ? requestAnimationFrame(() => resolve(performance.now()))
          : requestAnimationFrame(look);
        look();
      })`;
      const wholeMs = Number(await page.evaluate(drawn));
      const paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime";
      const firstMs = Number(await page.evaluate(paint));
      if (load === 0) continue;
      whole.push(wholeMs);
      first.push(firstMs);
    }
  } finally {
    await page.close();
    await scene.stop();
  }
  report.figure({ name: `${hosts} hosts: first paint`, unit: "ms", values: first });
  report.figure({ name: `${hosts} hosts: all hosts in the picture`, unit: "ms", values: whole });
}

/** Processor time in each second, with updates of 20 hosts; the same without a watcher is the process's own. */
async function measureCost(report: Report, hosts: number, watchers: number, seconds: number): Promise<void> {
  const scene = await RunningScene.start(HERE, { hosts }, SOURCES);
  try {
    const idle = await measureSeconds(scene, seconds);
    const clients = await Promise.all(Array.from({ length: watchers }, watch));
    await pause(2_000);
    const busy = await measureSeconds(scene, seconds);
    const { rssBytes } = await scene.usage();
    for (const client of clients) client.destroy();
    const title = `${hosts} hosts, ${watchers} ${watchers === 1 ? "watcher" : "watchers"}`;
    report.figure({ name: `${title}: processor time per second`, unit: "ms", values: busy });
    report.figure({ name: `${title}: the same without a watcher`, unit: "ms", values: idle });
    report.figure({ name: `${title}: memory of the process`, unit: "MiB", values: [rssBytes / 2 ** 20] });
  } finally {
    await scene.stop();
  }
}

async function measureSeconds(scene: RunningScene, seconds: number): Promise<number[]> {
  const values: number[] = [];
  let before = await scene.usage();
  for (let second = 0; second < seconds; second += 1) {
    await pause(1_000);
    const after = await scene.usage();
    values.push(((after.cpuMs - before.cpuMs) * 1_000) / (after.monotonicMs - before.monotonicMs));
    before = after;
  }
  return values;
}

function watch(): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(`${URL}api/stream`, { agent: false }, (response) => {
      response.on("error", () => undefined);
      response.resume();
      resolve(response);
    }).on("error", reject);
  });
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
