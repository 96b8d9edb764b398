/** Where hosts are in the picture: this host in the middle, the others on rings around it. Pure. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Layout {
  /** In the order of the hosts, around the middle at 0, 0. */
  readonly points: readonly Point[];
  /** Radius of a host's dot. */
  readonly dot: number;
}

/** Of the picture, in pixels. */
export interface Space {
  readonly width: number;
  readonly height: number;
}

const LARGEST_DOT = 11;
/** Between the middles of two hosts on one ring, so that a name fits beside each. */
const NAMED_SPACING = 20;
const INNER_RADIUS = 60;
/** The golden angle, in radians. */
const TURN = 2.4;

/** How many hosts one ring holds with names beside them. */
export function mostNamed(radius: number): number {
  return seatsOf(radius, NAMED_SPACING);
}

/** Places `count` hosts on one ring. */
export function layOutRing(count: number, radius: number): Layout {
  const spacing = (2 * Math.PI * radius) / Math.max(1, count);
  return { points: ringOf(count, radius), dot: Math.min(LARGEST_DOT, spacing * 0.4) };
}

/** Places `count` hosts within `radius`. */
export function layOut(count: number, radius: number): Layout {
  let spacing = LARGEST_DOT * 2.6;
  let radii = radiiOf(spacing, radius);
  while (capacityOf(radii, spacing) < count) {
    spacing *= 0.97;
    radii = radiiOf(spacing, radius);
  }
  return { points: fill(count, radii, spacing), dot: Math.min(LARGEST_DOT, spacing * 0.4) };
}

/** From the outermost to the innermost. */
function radiiOf(spacing: number, radius: number): readonly number[] {
  const count = Math.max(1, Math.floor((radius - INNER_RADIUS) / spacing) + 1);
  return Array.from({ length: count }, (_, index) => radius - index * spacing);
}

function capacityOf(radii: readonly number[], spacing: number): number {
  return radii.reduce((sum, radius) => sum + seatsOf(radius, spacing), 0);
}

function seatsOf(radius: number, spacing: number): number {
  return Math.max(1, Math.floor((2 * Math.PI * radius) / spacing));
}

/** Each ring takes its share, so that all look equally full. */
function fill(count: number, radii: readonly number[], spacing: number): readonly Point[] {
  const seats = radii.map((radius) => seatsOf(radius, spacing));
  const capacity = seats.reduce((sum, each) => sum + each, 0);
  const points: Point[] = [];
  let seen = 0;
  for (const [index, radius] of radii.entries()) {
    seen += seats[index] ?? 0;
    const share = Math.round((count * seen) / capacity) - points.length;
    // Without it all rings would begin at the top, and their hosts would be behind each other there.
    points.push(...ringOf(share, radius, index * TURN));
  }
  return points;
}

/** Clockwise from the top, or from `start` radians behind it. */
function ringOf(count: number, radius: number, start = 0): readonly Point[] {
  return Array.from({ length: count }, (_, index) => {
    const angle = (2 * Math.PI * index) / count - Math.PI / 2 + start;
    return { x: radius * Math.cos(angle), y: radius * Math.sin(angle) };
  });
}

/** Nearer to the middle a line would look as if it began or ended there. */
const CLEARANCE = 60;

/** Where a line between two points is drawn to (the control point of a quadratic curve), past the host in the middle. */
export function bendOf(from: Point, to: Point, centre: Point): Point {
  const bend = { x: (from.x + to.x + centre.x) / 3, y: (from.y + to.y + centre.y) / 3 };
  const middle = { x: (from.x + to.x) / 2 - centre.x, y: (from.y + to.y) / 2 - centre.y };
  // The middle of the curve lies half of the way from that of the straight line to the control point.
  if (Math.hypot(middle.x, middle.y) * (5 / 6) >= CLEARANCE) return bend;
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const across = { x: (from.y - to.y) / length, y: (to.x - from.x) / length };
  const side = middle.x * across.x + middle.y * across.y < 0 ? -1 : 1;
  const push = side * 2 * CLEARANCE;
  return { x: centre.x + across.x * push, y: centre.y + across.y * push };
}
