/** The open page when its daemon hangs or ends, and the focus of a person who uses the keyboard. */

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { missingBrowser, type OpenBrowser, openBrowser } from "../support/browser.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../support/netns.ts";
import { RunningScene } from "../support/page-scene.ts";
import { SOON } from "../support/patience.ts";

const URL = "http://127.0.0.1:8080/";
const WAIT = { timeout: 60_000 };
const FOCUSED = "document.activeElement.textContent";

describe.skipIf(missingBrowser() !== null)("the open page", () => {
  describeAsRoot("of a daemon", () => {
    let netns: TestNetns;
    let opened: OpenBrowser;
    let scene: RunningScene;
    let page: Page;
    /** Requests for data. */
    let requests: number;
    beforeAll(async () => {
      netns = createNetns("page-lost");
      opened = await openBrowser(netns);
    });
    afterAll(async () => {
      await opened?.close();
      netns?.dispose();
    });
    beforeEach(async () => {
      scene = await RunningScene.start(netns, { hosts: 12, broken: 1, changes: 12 });
      page = await opened.browser.newPage();
      requests = 0;
      page.on("request", (request) => {
        if (request.url().includes("/api/")) requests += 1;
      });
      await page.goto(`${URL}#hosts`);
      await page.locator("#summary").filter({ hasText: "12 hosts" }).waitFor(WAIT);
    });
    afterEach(async () => {
      await page.close();
      await scene.stop();
    });
    const connection = (): Promise<string | null> => page.locator("#connection").textContent();

    it("says that it hears nothing while the daemon hangs, and goes on when it does", async () => {
      await expect.poll(connection, SOON).toBe("live");
      scene.signal("SIGSTOP");
      await expect.poll(connection, WAIT).toContain("no news from the daemon");
      scene.signal("SIGCONT");
      await expect.poll(connection, WAIT).toBe("live");
    });

    it("asks a daemon that has ended no more often than one that runs", async () => {
      await scene.stop();
      await expect.poll(connection, WAIT).toContain("connection lost");
      const before = requests;
      await page.locator("#hosts tbody button").nth(3).click();
      await expect.poll(() => page.locator("#detail").textContent(), SOON).toContain("not available now");
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      expect(requests - before).toBeLessThan(10);
      scene = await RunningScene.start(netns, { hosts: 12 });
      await expect.poll(connection, WAIT).toBe("live");
      await expect.poll(() => page.locator("#detail").textContent(), WAIT).not.toContain("not available now");
    });

    it("keeps the focus on a host's button in the details while their figures change", async () => {
      await page.locator("#hosts tbody button").first().click();
      const slowest = page.locator("#detail li").filter({ hasText: "loss" });
      await slowest.first().waitFor(WAIT);
      const peer = page.locator("#detail li").filter({ hasText: "tunnel-filtered" }).getByRole("button");
      await peer.focus();
      const name = await peer.textContent();
      const figures = await slowest.allTextContents();
      await expect.poll(() => slowest.allTextContents(), WAIT).not.toEqual(figures);
      expect(await page.evaluate(FOCUSED)).toBe(name);
    });
  });
});
