/** What a person sees of networks that exist nowhere: one problem for one fault, and names that can be read on a phone. */

import type { BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingBrowser, type OpenBrowser, openBrowser } from "../support/browser.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../support/netns.ts";
import type { PageScene } from "../support/page-process.ts";
import { RunningScene } from "../support/page-scene.ts";
import { SOON } from "../support/patience.ts";

const URL = "http://127.0.0.1:8080/";
const WAIT = { timeout: 60_000 };
const PHONE: BrowserContextOptions = { viewport: { width: 380, height: 800 }, isMobile: true };
/** Smaller letters cannot be read; in pixels. */
const SMALLEST_LETTER = 11;

const hosts = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);
/** All paths between two groups, each reported by both ends. */
const between = (left: readonly number[], right: readonly number[]) =>
  left.flatMap((a) => right.flatMap((b) => [[a, b] as const, [b, a] as const]));

describe.skipIf(missingBrowser() !== null)("the page shows", () => {
  describeAsRoot("to a person", () => {
    let netns: TestNetns;
    let opened: OpenBrowser;
    beforeAll(async () => {
      netns = createNetns("page-shown");
      opened = await openBrowser(netns);
    });
    afterAll(async () => {
      await opened?.close();
      netns?.dispose();
    });

    async function withPage(
      scene: Partial<PageScene> & { hosts: number },
      use: (page: Page) => Promise<void>,
      options: BrowserContextOptions = {},
    ): Promise<void> {
      const running = await RunningScene.start(netns, { changes: 0, ...scene });
      const page = await opened.browser.newPage(options);
      try {
        await page.goto(URL);
        await page
          .locator("#summary")
          .filter({ hasText: `${scene.hosts} hosts` })
          .waitFor(WAIT);
        await use(page);
      } finally {
        await page.close();
        await running.stop();
      }
    }

    it("a network that is cut in two as one problem, with its paths on demand, by keyboard", async () => {
      await withPage({ hosts: 9, reported: between(hosts(0, 4), hosts(4, 9)) }, async (page) => {
        const problems = page.locator("#problem-list > li");
        await expect.poll(() => problems.count(), SOON).toBe(1);
        const text = await problems.textContent();
        expect(text).toContain("The network is in two parts: every path between them is broken");
        expect(text).toContain("4 hosts: ");
        expect(text).toContain("5 hosts: ");
        expect(text).toContain("What to do: let the firewalls between both hosts pass");
        const paths = problems.getByText("The 20 broken paths");
        expect(await problems.locator("details li").count()).toBe(0);
        await paths.focus();
        await page.keyboard.press("Enter");
        await expect.poll(() => problems.locator("details li").count(), SOON).toBe(20);
      });
    });

    it("no good path of a host that reports more broken paths than its record holds", async () => {
      await withPage({ hosts: 160, reported: between(hosts(0, 80), hosts(80, 160)) }, async (page) => {
        await page.getByText("159 hosts have more broken paths than are shown here").waitFor(WAIT);
        await page.getByRole("tab", { name: "Matrix" }).click();
        await page.locator("#matrix").focus();
        await page.keyboard.press("ArrowDown");
        const told = await page.locator("#matrix-cell").textContent();
        expect(told).toContain("not known: of the broken paths of");
      });
    });

    it("a host that no other reaches as one problem", async () => {
      const reported = hosts(0, 9).flatMap((from) => (from === 3 ? [] : [[from, 3] as const]));
      await withPage({ hosts: 9, reported, domain: "" }, async (page) => {
        const problems = page.locator("#problem-list > li");
        await expect.poll(() => problems.count(), SOON).toBe(1);
        expect(await problems.textContent()).toContain("node-3 has broken paths to all 8 other hosts");
      });
    });

    it.each([6, 20, 40])("names of %i hosts on a phone that can be read and are whole", async (count) => {
      const scene = { hosts: count, domain: ".rack-2.example.com", reported: between([2], [4]) };
      await withPage(
        scene,
        async (page) => {
          await page.locator("#picture text").filter({ hasText: "node-4" }).first().waitFor(WAIT);
          const seen = (await page.evaluate(`(() => {
            const frame = document.querySelector("#picture").getBoundingClientRect();
            const scale = frame.width / document.querySelector("#picture").viewBox.baseVal.width;
            const texts = [...document.querySelectorAll("#picture text")];
            const isInside = ({ left, right, top, bottom }) =>
              left >= frame.left - 2 && right <= frame.right + 2 && top >= frame.top - 2 && bottom <= frame.bottom + 2;
            return {
              letter: Math.min(...texts.map((each) => Number.parseFloat(getComputedStyle(each).fontSize))) * scale,
              outside: texts.filter((each) => !isInside(each.getBoundingClientRect())).map((each) => each.textContent),
              overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
            };
          })()`)) as { letter: number; outside: string[]; overflow: number };
          expect(seen.letter).toBeGreaterThanOrEqual(SMALLEST_LETTER);
          expect(seen.outside).toEqual([]);
          expect(seen.overflow).toBe(0);
        },
        PHONE,
      );
    });
  });
});
