/** Where hosts are in the picture. */

import { describe, expect, it } from "vitest";
import { bendOf, layOut, layOutRing, mostNamed } from "../../../../agent/page/layout.ts";

const RADIUS = 300;
const distance = (a: { x: number; y: number }, b: { x: number; y: number }): number =>
  Math.hypot(a.x - b.x, a.y - b.y);

describe("the picture's layout", () => {
  it.each([0, 1, 2, 48, 49, 199, 500, 4_999])("places %i hosts within the radius, apart", (count) => {
    const { points, dot } = layOut(count, RADIUS);
    expect(points).toHaveLength(count);
    for (const point of points) {
      expect(Math.hypot(point.x, point.y)).toBeLessThanOrEqual(RADIUS + 0.01);
      expect(Math.hypot(point.x, point.y)).toBeGreaterThan(40);
    }
    const neighbours = points.slice(1).map((point, index) => distance(point, points[index] ?? point));
    for (const apart of neighbours) expect(apart).toBeGreaterThan(dot * 1.5);
    expect(dot).toBeGreaterThan(2);
  });

  it("keeps all hosts apart, not only neighbours", () => {
    const { points, dot } = layOut(700, RADIUS);
    const closest = points.map((a) => Math.min(...points.map((b) => (a === b ? RADIUS : distance(a, b)))));
    expect(Math.min(...closest)).toBeGreaterThan(dot * 1.9);
  });

  it("begins at the top, clockwise", () => {
    const [first, second] = layOutRing(4, RADIUS).points;
    expect(first?.x).toBeCloseTo(0);
    expect(first?.y).toBeCloseTo(-RADIUS);
    expect(second?.x).toBeCloseTo(RADIUS);
  });
});

describe("the line of a broken path", () => {
  const centre = { x: 500, y: 340 };
  /** Of points along the curve, the one that is nearest to the middle. */
  const nearest = (angles: readonly [number, number], radius: number): number => {
    const [from, to] = angles.map((degrees) => ({
      x: centre.x + radius * Math.cos((degrees * Math.PI) / 180),
      y: centre.y + radius * Math.sin((degrees * Math.PI) / 180),
    }));
    if (from === undefined || to === undefined) throw new Error("there are two");
    const bend = bendOf(from, to, centre);
    const at = (t: number, axis: "x" | "y"): number =>
      (1 - t) ** 2 * from[axis] + 2 * t * (1 - t) * bend[axis] + t ** 2 * to[axis];
    const along = Array.from({ length: 101 }, (_, step) => step / 100);
    return Math.min(...along.map((t) => distance({ x: at(t, "x"), y: at(t, "y") }, centre)));
  };

  it.each([
    [-90, 90],
    [0, 180],
    [0, 170],
    [0, 190],
    [45, 200],
    [10, 60],
  ])("from %i° to %i° passes the host in the middle", (from, to) => {
    for (const radius of [215, 305]) expect(nearest([from, to], radius)).toBeGreaterThan(45);
  });
});

describe("a ring", () => {
  it.each([68, 107, 215])("of radius %i holds hosts with names apart", (radius) => {
    const { points, dot } = layOutRing(mostNamed(radius), radius);
    const [first, second] = points;
    if (first === undefined || second === undefined) throw new Error("there are two");
    expect(distance(first, second)).toBeGreaterThan(dot * 2);
  });
});
