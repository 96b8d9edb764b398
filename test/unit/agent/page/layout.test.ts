/** Where hosts are in the picture. */

import { describe, expect, it } from "vitest";
import { layOut, NAMED_HOSTS } from "../../../../agent/page/layout.ts";

const RADIUS = 300;
const distance = (a: { x: number; y: number }, b: { x: number; y: number }): number =>
  Math.hypot(a.x - b.x, a.y - b.y);

describe("the picture's layout", () => {
  it.each([0, 1, 2, NAMED_HOSTS, NAMED_HOSTS + 1, 199, 500, 4_999])(
    "places %i hosts within the radius, apart",
    (count) => {
      const { points, dot } = layOut(count, RADIUS);
      expect(points).toHaveLength(count);
      for (const point of points) {
        expect(Math.hypot(point.x, point.y)).toBeLessThanOrEqual(RADIUS + 0.01);
        expect(Math.hypot(point.x, point.y)).toBeGreaterThan(40);
      }
      const neighbours = points.slice(1).map((point, index) => distance(point, points[index] ?? point));
      for (const apart of neighbours) expect(apart).toBeGreaterThan(dot * 1.5);
      expect(dot).toBeGreaterThan(2);
    },
  );

  it("keeps all hosts apart, not only neighbours", () => {
    const { points, dot } = layOut(700, RADIUS);
    const closest = points.map((a) => Math.min(...points.map((b) => (a === b ? RADIUS : distance(a, b)))));
    expect(Math.min(...closest)).toBeGreaterThan(dot * 1.9);
  });

  it("begins at the top, clockwise", () => {
    const [first, second] = layOut(4, RADIUS).points;
    expect(first?.x).toBeCloseTo(0);
    expect(first?.y).toBeCloseTo(-RADIUS);
    expect(second?.x).toBeCloseTo(RADIUS);
  });
});
